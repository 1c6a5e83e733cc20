package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.UnixMilli(1_800_000_000_000)

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func add(t *testing.T, s *Store, name string, values ...float64) {
	t.Helper()
	app := s.AppenderV2(t.Context())
	for i, v := range values {
		at := start.Add(time.Duration(i) * time.Second).UnixMilli()
		if _, err := app.Append(0, labels.FromStrings(labelName, name), 0, at, v, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

const labelName = "__name__"

func TestQuery(t *testing.T) {
	s := open(t, Config{})
	add(t, s, "c", 0, 7, 9)
	for expr, want := range map[string]string{
		`c`:                         `{__name__="c"} => 9 @[1800000002000]`,
		`increase(c[2s] anchored)`:  `{} => 9 @[1800000002000]`,
		`increase(c[1s] anchored)`:  `{} => 2 @[1800000002000]`,
		`c @ 1800000001`:            `{__name__="c"} => 7 @[1800000002000]`,
		`max_over_time(c[10s:])`:    `{} => 9 @[1800000002000]`,
		`sum(c) - sum(c offset 1s)`: `{} => 2 @[1800000002000]`,
	} {
		v, err := s.Query(t.Context(), expr, start.Add(2*time.Second))
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		} else if v.String() != want {
			t.Errorf("%s is %s, want %s", expr, v, want)
		}
	}
}

// An answer stays what it is while other queries run: the engine uses the
// memory of its own results again.
func TestAnswersAreOurs(t *testing.T) {
	s := open(t, Config{})
	add(t, s, "c", 1, 2, 3)
	ask := func(expr string) fmt.Stringer {
		v, err := s.QueryRange(t.Context(), expr, start, start.Add(2*time.Second), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := ask(`c`)
	before := v.String()
	for range 100 {
		ask(`c * 1000`)
	}
	if v.String() != before {
		t.Errorf("it was\n%s\nand is\n%s", before, v)
	}
}

func TestErrors(t *testing.T) {
	s := open(t, Config{MaxSamples: 2})
	add(t, s, "c", 1, 2, 3, 4, 5)
	var syntax *QueryError
	if _, err := s.Query(t.Context(), "sum(", start); !errors.As(err, &syntax) || !strings.Contains(err.Error(), `query "sum("`) {
		t.Errorf("a wrong query gave %v", err)
	}
	if _, err := s.QueryRange(t.Context(), "sum(", start, start, time.Second); !errors.As(err, &syntax) {
		t.Errorf("a wrong range query gave %v", err)
	}
	var many promql.ErrTooManySamples
	if _, err := s.Query(t.Context(), "sum_over_time(c[5s])", start.Add(4*time.Second)); !errors.As(err, &many) {
		t.Errorf("five samples of two allowed gave %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var canceled promql.ErrQueryCanceled
	if _, err := s.Query(ctx, "c", start); !errors.As(err, &canceled) {
		t.Errorf("a cancelled query gave %v", err)
	}
}

func TestLatest(t *testing.T) {
	s := open(t, Config{})
	if !s.Latest().IsZero() {
		t.Errorf("before the first round it is %v", s.Latest())
	}
	s.Complete(start)
	if !s.Latest().Equal(start) {
		t.Errorf("it is %v, want %v", s.Latest(), start)
	}
}

// A given folder keeps samples from one run to the next.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, "c", 1, 2)
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Error("a folder was opened twice")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Config{Dir: dir})
	if v, err := s.Query(t.Context(), "c", start.Add(time.Second)); err != nil || !strings.Contains(v.String(), "=> 2") {
		t.Errorf("after a restart: %v, %v", v, err)
	}
}

func TestOpenFails(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: file}); err == nil || !strings.Contains(err.Error(), "open metrics in "+file) {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	err := Config{Retention: time.Second, MaxBytes: -1, QueryTimeout: -1, MaxSamples: -1}.Validate()
	for _, want := range []string{"retention: 1s", "max bytes: -1", "query timeout: -1ns", "max samples: -1"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("the error does not name %q:\n%v", want, err)
		}
	}
	if _, err := Open(Config{Retention: 1}); err == nil {
		t.Error("a wrong config was opened")
	}
}
