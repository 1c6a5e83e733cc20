package domains

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	var table Table[string]
	for _, p := range []string{"foo.com", "*.foo.com", "*-bar.foo.com", "foo.*", "foo-*", "bb:8080"} {
		if err := table.Add(p, p); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"foo.com":          "foo.com",
		"FOO.com":          "foo.com",
		"a.foo.com":        "*.foo.com",
		"baz-bar.foo.com":  "*-bar.foo.com",
		".foo.com":         "", // the wildcard stands for one character at least
		"foo.org":          "foo.*",
		"foo-x":            "foo-*",
		"foo-":             "",
		"bb:8080":          "bb:8080",
		"bb":               "",
		"":                 "",
		"x.FOO.COM":        "*.foo.com",
		"unrelated.com":    "",
		"foo.com.evil.net": "foo.*",
	} {
		if got, ok := table.Match([]byte(name)); got != want || ok != (want != "") {
			t.Errorf("%q matches %q (%v), want %q", name, got, ok, want)
		}
	}
	if err := table.Add("*", "*"); err != nil {
		t.Fatal(err)
	}
	long := []byte(strings.Repeat("a", MaxName+1) + ".foo.com")
	if got, _ := table.Match(long); got != "*" {
		t.Errorf("a name that is too long matches %q", got)
	}
}

func TestAddRefuses(t *testing.T) {
	for _, p := range []string{"", "**", "a*b", "*a*", "a.com", "A.com", "*.b", "b.*", "*"} {
		var table Table[int]
		for _, first := range []string{"a.com", "*.b", "b.*", "*"} {
			if err := table.Add(first, 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := table.Add(p, 2); err == nil || !strings.Contains(err.Error(), `"`+p+`"`) {
			t.Errorf("%q: error %v", p, err)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	var table Table[int]
	_ = table.Add("bb.demo:8080", 1)
	name := []byte("BB.demo:8080")
	if n := testing.AllocsPerRun(100, func() { table.Match(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	var table Table[int]
	_ = table.Add("bb.demo:8080", 1)
	name := []byte("bb.demo:8080")
	for b.Loop() {
		table.Match(name)
	}
}
