package proxy

import "testing"

func TestKeeper(t *testing.T) {
	var none keeper
	if !none.add([]byte("x")) || none.keeping() || none.seal() || none.b != nil {
		t.Error("the zero keeper keeps something")
	}
	for _, tt := range []struct {
		name   string
		most   int
		length int64
		pieces []string
		kept   string
		fits   bool
	}{
		{"fits", 5, 0, []string{"ab", "cde"}, "abcde", true},
		{"announced, fits", 5, 5, []string{"ab", "cde"}, "abcde", true},
		{"one more", 5, 0, []string{"ab", "cdef"}, "", false},
		{"announced, one more", 5, 6, []string{"ab"}, "", false},
		{"begins too large", 5, 0, []string{"abcdef"}, "", false},
		{"nothing came", 5, 0, []string{""}, "", true},
		{"nothing is kept", 0, 0, []string{"a"}, "", false},
	} {
		var k keeper
		k.begin(tt.most, []byte(tt.pieces[0]), tt.length)
		for _, p := range tt.pieces[1:] {
			if !k.add([]byte(p)) {
				t.Errorf("%s: sealed by nobody", tt.name)
			}
		}
		if k.keeping() != tt.fits || k.seal() != tt.fits {
			t.Errorf("%s: keeping %v", tt.name, k.keeping())
		}
		if !tt.fits {
			continue
		}
		if k.add([]byte("late")) {
			t.Errorf("%s: who reads on is not told that it is sealed", tt.name)
		}
		if got := string(k.unseal()); got != tt.kept+"late" {
			t.Errorf("%s: kept %q", tt.name, got)
		}
	}
}

// Both ways of saying that nothing is kept, and the default.
func TestMaxKept(t *testing.T) {
	for set, want := range map[int]int{0: DefaultMaxKept, -1: 0, 7: 7} {
		s := &Server{cfg: ServerConfig{MaxKept: set}}
		if got := s.maxKept(); got != want {
			t.Errorf("%d means %d, want %d", set, got, want)
		}
	}
	if orNone(0) != -1 || orNone(7) != 7 {
		t.Error("a bound of 0 is one")
	}
}
