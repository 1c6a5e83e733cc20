package annotation_test

import (
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/control/annotation"
)

func TestText(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "1s": time.Second, "1m": time.Minute, "90s": 90 * time.Second, "250ms": 250 * time.Millisecond, "24h": 24 * time.Hour,
	} {
		if got := annotation.Text(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
		if got, _, err := annotation.Duration(want); err != nil || got != d {
			t.Errorf("%q reads as %v, %v", want, got, err)
		}
	}
}

func TestCount(t *testing.T) {
	if n, err := annotation.Count(" 4294967295 "); err != nil || n != 4294967295 {
		t.Errorf("the largest reads as %d, %v", n, err)
	}
	for _, s := range []string{"", "-1", "4294967296", "1.5", "0x1"} {
		if n, err := annotation.Count(s); err == nil {
			t.Errorf("%q reads as %d", s, n)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"0", "1s", "10ms", "1m30s", "-1s", "1.5h", "99999999999d", "µs", " 2h "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, _, err := annotation.Duration(s)
		if err != nil {
			return
		}
		if d < 0 || d%time.Millisecond != 0 {
			t.Fatalf("%q reads as %v", s, d)
		}
		if again, _, err := annotation.Duration(annotation.Text(d)); err != nil || again != d {
			t.Fatalf("%q is written as %q and reads as %v, %v", s, annotation.Text(d), again, err)
		}
	})
}
