package linkerd

import (
	"fmt"

	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Statuses that an answer can have.
const (
	minStatus = 100
	maxStatus = 599
)

// verdict of a route's classes on a status.
type verdict uint8

const (
	byDefault verdict = iota // no class has it
	success
	failure
)

// classification is the verdict on each status.
type classification [maxStatus + 1]verdict

// classify applies classes to every status. The first whose condition holds
// decides; a class that cannot be read decides nothing.
func classify(classes []source.ProfileClass) *classification {
	var c classification
	for i := range classes {
		if checkAnswer(classes[i].Condition, "") != nil {
			continue
		}
		for s := minStatus; s <= maxStatus; s++ {
			if c[s] != byDefault || !holds(classes[i].Condition, uint32(s)) {
				continue
			}
			c[s] = success
			if classes[i].IsFailure {
				c[s] = failure
			}
		}
	}
	return &c
}

// decides tells whether a class has the status.
func (c *classification) decides(status int) bool { return c[status] != byDefault }

// failures are the statuses that are failures; without a class those of 500 and
// more, as Linkerd has it.
func (c *classification) failures() []routing.StatusRange {
	var out []routing.StatusRange
	for s := minStatus; s <= maxStatus; s++ {
		if c[s] == success || c[s] == byDefault && s < 500 {
			continue
		}
		if last := len(out) - 1; last >= 0 && out[last].Last == uint32(s-1) {
			out[last].Last = uint32(s)
			continue
		}
		out = append(out, routing.StatusRange{First: uint32(s), Last: uint32(s)})
	}
	return out
}

func holds(a *source.ProfileAnswer, status uint32) bool {
	for i := range a.All {
		if !holds(&a.All[i], status) {
			return false
		}
	}
	if len(a.Any) > 0 {
		any := false
		for i := range a.Any {
			any = any || holds(&a.Any[i], status)
		}
		if !any {
			return false
		}
	}
	if a.Not != nil && holds(a.Not, status) {
		return false
	}
	if a.Status != nil {
		first, last := a.Status.Min, a.Status.Max
		if first == 0 {
			first = last
		}
		if last == 0 {
			last = first
		}
		return first <= status && status <= last
	}
	return true
}

// checkAnswer says what is wrong with a condition of answers.
func checkAnswer(a *source.ProfileAnswer, field string) *conditionError {
	if a == nil || len(a.All)+len(a.Any) == 0 && a.Not == nil && a.Status == nil {
		return &conditionError{field: field, code: "empty-condition", reason: "a condition needs one of status, all, any and not"}
	}
	for i := range a.All {
		if err := checkAnswer(&a.All[i], fmt.Sprintf("%s.all[%d]", field, i)); err != nil {
			return err
		}
	}
	for i := range a.Any {
		if err := checkAnswer(&a.Any[i], fmt.Sprintf("%s.any[%d]", field, i)); err != nil {
			return err
		}
	}
	if a.Not != nil {
		if err := checkAnswer(a.Not, field+".not"); err != nil {
			return err
		}
	}
	if r := a.Status; r != nil {
		ok := func(s uint32) bool { return s == 0 || s >= minStatus && s <= maxStatus }
		if r.Min == 0 && r.Max == 0 || !ok(r.Min) || !ok(r.Max) || r.Max != 0 && r.Max < r.Min {
			return &conditionError{
				field: field + ".status", code: "bad-status", value: fmt.Sprintf("%d-%d", r.Min, r.Max),
				allowed: "min and max from 100 to 599, min the smaller", reason: "this is no range of statuses",
			}
		}
	}
	return nil
}
