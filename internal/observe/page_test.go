package observe_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The page and all that it names are there, and nothing of it is inline, which
// its content policy would refuse.
func TestPage(t *testing.T) {
	a := start(t, nil)
	status, page := a.ask(t, "GET", "/", "")
	if status != http.StatusOK || !strings.Contains(page, "<title>Recloser</title>") {
		t.Fatalf("%d %s", status, page)
	}
	if strings.Contains(page, "<style") || regexp.MustCompile(`<script>|\son\w+=`).MatchString(page) {
		t.Error("something of the page is inline")
	}
	paths := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(paths) != 2 {
		t.Errorf("the page names %v", paths)
	}
	_, script := a.ask(t, "GET", "/page/page.js", "")
	for _, m := range append(paths, regexp.MustCompile(`ask\("()(/[^"]+)"\)`).FindAllStringSubmatch(script, -1)...) {
		if status, body := a.ask(t, "GET", m[len(m)-1], ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", m[len(m)-1], status, body)
		}
	}
	if strings.Contains(script, "innerHTML") {
		t.Error("the script sets markup")
	}
	// Each table that the script fills is in the page.
	for _, m := range regexp.MustCompile(`show\("(\w+)"`).FindAllStringSubmatch(script, -1) {
		if !strings.Contains(page, `<table id="`+m[1]+`"`) {
			t.Errorf("the page has no table %q", m[1])
		}
	}
	resp, err := http.Get(a.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("content policy %q", csp)
	}
}
