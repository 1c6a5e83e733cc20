package breaker

import "time"

// inflight lists the calls in flight of one endpoint by age, for HungCalls. It
// allocates only when more calls are in flight than ever before.
//
// Slots are linked oldest first through next and prev; slot 0 is the list's
// head and stands for "not tracked" in a Permit.
type inflight struct {
	slots []call
	free  uint32 // first free slot, linked by next; 0: none
	gen   uint32 // permits of an older generation have no slot any more
	told  time.Duration
}

type call struct {
	start      time.Duration
	next, prev uint32
}

// enter adds a call and gives its slot.
func (f *inflight) enter(now time.Duration) uint32 {
	if len(f.slots) == 0 {
		f.slots = append(f.slots, call{})
	}
	i := f.free
	if i != 0 {
		f.free = f.slots[i].next
	} else {
		i = uint32(len(f.slots)) //nolint:gosec // bounded by calls in flight
		f.slots = append(f.slots, call{})
	}
	last := f.slots[0].prev
	f.slots[i] = call{start: now, prev: last}
	f.slots[last].next = i
	f.slots[0].prev = i
	return i
}

// leave removes the call in slot i of generation gen.
func (f *inflight) leave(i, gen uint32) {
	if i == 0 || gen != f.gen {
		return
	}
	c := f.slots[i]
	f.slots[c.prev].next = c.next
	f.slots[c.next].prev = c.prev
	f.slots[i].next = f.free
	f.free = i
}

// oldest is when the oldest call in flight began.
func (f *inflight) oldest() (time.Duration, bool) {
	if len(f.slots) == 0 || f.slots[0].next == 0 {
		return 0, false
	}
	return f.slots[f.slots[0].next].start, true
}

// reset forgets every call; their permits' slots are void.
func (f *inflight) reset() {
	if len(f.slots) > 0 {
		f.slots = f.slots[:1]
		f.slots[0] = call{}
	}
	f.free, f.told = 0, -1
	f.gen++
}
