package memory_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSource publishes its empty state at its start, so that nobody waits for
// it, and then what is set; objects get its name as their origin.
func TestSource(t *testing.T) {
	s := memory.New("test")
	ctx, cancel := context.WithCancel(t.Context())
	updates, ended := make(chan source.Update), make(chan error)
	go func() { ended <- s.Run(ctx, func(u source.Update) { updates <- u }) }()
	if u := <-updates; len(u.Objects) != 0 {
		t.Errorf("at the start %v", u)
	}
	mine := []source.Object{{Key: source.Key{Kind: source.Pod, Name: "a"}}, {Key: source.Key{Kind: source.Pod, Name: "b"}, Origin: &source.Origin{File: "f"}}}
	s.Set(mine)
	u := <-updates
	if len(u.Objects) != 2 || u.Objects[0].Origin.String() != "test" || u.Objects[1].Origin.String() != "f" {
		t.Errorf("objects %v", u.Objects)
	}
	if mine[0].Origin != nil {
		t.Error("the caller's objects were changed")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
