package translate

import (
	"maps"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// This file is Istio's locality load balancing (the DestinationRule's
// localityLbSetting), by its rules: `distribute` gives places shares by the
// caller's, and without it requests stay as near as they can and go further away
// as endpoints fail. For the second something must find out that they fail: as
// in Istio it needs outlier detection, or a breaker.

// caller is who asks.
type caller struct {
	at     model.Locality
	labels map[string]string
}

// localityWeighted tells whether a caller's requests go to places by weight.
func localityWeighted(e *policy.Effective, from model.Locality) bool {
	return e.Locality != nil && e.Locality.Enabled.Value && distributeFor(e.Locality, from) != nil
}

// byLocality puts endpoints where a rule wants them; nil where none speaks of
// the caller.
func byLocality(list []*model.Endpoint, e *policy.Effective, from caller) []group {
	l := e.Locality
	if l == nil || !l.Enabled.Value {
		return nil
	}
	if len(l.Distribute) > 0 {
		if d := distributeFor(l, from.at); d != nil {
			return distribute(list, d)
		}
		return nil
	}
	if e.Outlier == nil && e.Breaker == nil {
		return nil
	}
	if labels := l.FailoverPriority; labels.IsSet() {
		return collect(list, func(e *model.Endpoint) int { return labelDistance(labels.Value, from, e) })
	}
	if from.at.IsZero() {
		return nil
	}
	return collect(list, func(e *model.Endpoint) int { return distance(l.Failover, from.at, e.Locality) })
}

// distributeFor is the first rule whose `from` the caller's place is in.
func distributeFor(l *policy.Locality, from model.Locality) *policy.Distribute {
	if from.IsZero() {
		return nil
	}
	for i := range l.Distribute {
		if inPlace(from, l.Distribute[i].From) {
			return &l.Distribute[i]
		}
	}
	return nil
}

// inPlace tells whether a locality is in one that a rule names: "region",
// "region/zone", "region/zone/subzone", each part but the first one "*" for any.
func inPlace(l model.Locality, named string) bool {
	parts := strings.Split(named, "/")
	for i, have := range []string{l.Region, l.Zone, l.SubZone} {
		if i >= len(parts) || parts[i] == "*" {
			return true
		}
		if parts[i] != have {
			return false
		}
	}
	return true
}

// distribute gives the places of a rule their weights. One that stands for
// several is parted among them by their numbers of endpoints; what no place
// names gets nothing.
func distribute(list []*model.Endpoint, d *policy.Distribute) []group {
	all := together(list)
	var out []group
	taken := make([]bool, len(all))
	// The narrower name first: "r/z" has its say before "r/*".
	names := slices.SortedFunc(maps.Keys(d.To), func(a, b string) int {
		if n := strings.Count(a, "*") - strings.Count(b, "*"); n != 0 {
			return n
		}
		if n := strings.Count(b, "/") - strings.Count(a, "/"); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		var mine []int
		total := 0
		for i := range all {
			if !taken[i] && inPlace(all[i].locality, name) {
				taken[i] = true
				mine = append(mine, i)
				total += len(all[i].list)
			}
		}
		for _, i := range mine {
			all[i].weight = max(1, uint32(uint64(d.To[name])*weightUnit*uint64(len(all[i].list))/uint64(total)))
			if d.To[name] > 0 {
				out = append(out, all[i])
			}
		}
	}
	slices.SortFunc(out, func(a, b group) int { return strings.Compare(a.locality.String(), b.locality.String()) })
	return out
}

// weightUnit is one percent, so that shares of several places stay near.
const weightUnit = 100

// distance is the priority of an endpoint by how far it is: 0 in the same
// subzone, 1 zone, 2 region, and 3 in another region, or 4 in one that is not
// the one named for this.
func distance(rules []policy.Failover, from, at model.Locality) int {
	switch {
	case at.Region != from.Region:
		for i := range rules {
			if rules[i].From == from.Region {
				if rules[i].To != at.Region {
					return 4
				}
				break
			}
		}
		return 3
	case at.Zone != from.Zone:
		return 2
	case at.SubZone != from.SubZone:
		return 1
	}
	return 0
}

// labelDistance is how many of the named labels, from the first on, an endpoint
// does not have in common with the caller. "key=value" stands for a value
// whatever the caller's is.
func labelDistance(names []string, from caller, e *model.Endpoint) int {
	for i, name := range names {
		key, want, given := strings.Cut(name, "=")
		if !given {
			want = labelOf(key, from.labels, from.at)
		}
		if have := labelOf(key, e.Labels, e.Locality); have != want {
			return len(names) - i
		}
	}
	return 0
}

// labelOf is a label's value. Those of places are known without being written on
// an instance.
func labelOf(key string, labels map[string]string, at model.Locality) string {
	switch key {
	case model.RegionLabel:
		return at.Region
	case model.ZoneLabel:
		return at.Zone
	case model.SubZoneLabel:
		return at.SubZone
	}
	return labels[key]
}
