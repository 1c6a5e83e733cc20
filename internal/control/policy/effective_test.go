package policy

import (
	"testing"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// A budget of defaults alone was written by nobody, so nobody loses by it.
func TestWhereABudgetWasWritten(t *testing.T) {
	b := &routing.Budget{
		Percent: origin.Default(20.0, "Linkerd"), MinPerSecond: origin.Default[uint32](10, "Linkerd"),
	}
	if at, written := saidOf(b); written {
		t.Errorf("defaults were written at %v", at)
	}
	b.MinPerSecond.Origin = Origin{Object: "serviceprofile/a", Field: "spec.retryBudget.minRetriesPerSecond"}
	if at, written := saidOf(b); !written || at != b.MinPerSecond.Origin {
		t.Errorf("written %v at %v", written, at)
	}
}
