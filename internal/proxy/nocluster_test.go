package proxy

import "testing"

func TestNoCluster(t *testing.T) {
	for name, want := range map[string]string{
		"invalid|80||nosuch.shop|there is no service nosuch in namespace shop": "there is no service nosuch in namespace shop",
		"invalid|0|||host a|b is no Service":                                   "host a|b is no Service",
		"outbound|80||a.shop.svc.cluster.local":                                "nothing is known of a.shop.svc.cluster.local:80",
		"outbound|80|v1|a.shop.svc.cluster.local":                              "nothing is known of subset v1 of a.shop.svc.cluster.local:80",
		"outbound|80||a.shop.svc.cluster.local|via|b.shop":                     "nothing is known of a.shop.svc.cluster.local:80",
		"invalid|80": "there is no cluster invalid|80",
		"legacy":     "there is no cluster legacy",
	} {
		if got := noCluster(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
