package demo

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/local"
)

// programs builds both programs, with the race detector when the tests have
// it: then the packages are compiled already.
func programs(t *testing.T) (recloser, proxy string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-o", dir}
	if raceEnabled {
		args = append(args, "-race")
	}
	const cmd = "github.com/reclosermesh/recloser/cmd/"
	if out, err := exec.CommandContext(t.Context(), "go", append(args, cmd+"recloser", cmd+"recloser-proxy")...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "recloser"), filepath.Join(dir, "recloser-proxy")
}

// The whole demo, with real processes. How fast things go is not judged here.
func TestPlay(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	recloser, proxy := programs(t)
	var shown bytes.Buffer
	result, err := Play(t.Context(), local.UpConfig{
		HTTPAddress: "127.0.0.1:0", RecloserPath: recloser, ProxyPath: proxy,
	}, Fast(), NewShow(&shown, nil))
	if err != nil {
		t.Fatalf("%v\n%s", err, shown.String())
	}
	if s := result.Before.Success; s == nil || *s == 0 || *s == 1 {
		t.Errorf("success without a breaker is %v: one of two endpoints fails", s)
	}
	if !strings.Contains(result.Trip.Cause, "7 failures in a row") {
		t.Errorf("it opened for %q", result.Trip.Cause)
	}
	if s := result.After.Success; s == nil || *s <= *result.Before.Success {
		t.Errorf("success with the breaker is %v, without it was %v", s, *result.Before.Success)
	}
	if result.SinceTrip.BadRPS >= result.Before.BadRPS/2 {
		t.Errorf("bad gets %.1f rps with the breaker, without it got %.1f", result.SinceTrip.BadRPS, result.Before.BadRPS)
	}
	if result.RecoveredAfter <= 0 || result.Recovered.BadRPS == 0 {
		t.Errorf("bad recovered after %s and then got %.1f rps", result.RecoveredAfter, result.Recovered.BadRPS)
	}
	if f := result.FailFast; f.AtOnce == 0 || f.Other != 0 || f.Status != 503 || f.Reason != "no_healthy_upstream" {
		t.Errorf("with every endpoint open: %+v", f)
	}
	var b bytes.Buffer
	if err := result.WriteJSON(&b); err != nil || !json.Valid(b.Bytes()) {
		t.Errorf("the result as JSON: %v\n%s", err, b.String())
	}
	for _, want := range []string{"NAME", "slow-cooker", "closed → open", "half-open → closed", "recloser annotate"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q was not shown", want)
		}
	}
	t.Log(shown.String())
}
