package linkerd

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// FuzzAnnotations: whatever annotations say, what is read of them is in the
// bounds that a proxy takes, and what was left out is told.
func FuzzAnnotations(f *testing.F) {
	f.Add("5xx,503-504", "cancelled", "3", "1s", "0")
	f.Add(",", "", "65536", "1.5s", "-1s")
	f.Add("099-100", "internal,,", "", "99999999999d", "1m30s")
	f.Fuzz(func(t *testing.T, http, grpc, limit, try, request string) {
		o := source.Object{
			Key: source.Key{Kind: source.Service, Namespace: "n", Name: "s"},
			Value: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
				retryHTTP: http, retryGRPC: grpc, retryLimit: limit, retryTimeout: try, timeoutRequest: request,
			}}},
		}
		s, problems := read(o)
		for i := range problems {
			if problems[i].Code == "" || problems[i].Reason == "" || problems[i].Field == "" {
				t.Fatalf("finding %+v", problems[i])
			}
		}
		if s.timeouts.Request.Value < 0 {
			t.Fatalf("timeout %v", s.timeouts.Request)
		}
		if s.retry == nil {
			if len(problems) == 0 {
				t.Fatal("there is no retry, and nothing is told")
			}
			return
		}
		r := s.retry
		if r.Attempts.Value > 65535 || r.PerTry.Value < 0 || !r.Attempts.IsSet() || len(r.On.Value)+len(r.Statuses.Value) == 0 {
			t.Fatalf("retry %+v", r)
		}
		for _, st := range r.Statuses.Value {
			if st.First < 100 || st.Last > 599 || st.First > st.Last {
				t.Fatalf("statuses %+v", st)
			}
		}
	})
}
