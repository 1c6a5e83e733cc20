// Package breaker keeps a failure in one place small: it watches the results
// of calls to a set of endpoints, takes a failing endpoint out of use (the
// breaker opens), tries it again by itself, and takes it back when the fault
// is gone (it recloses).
//
// A [Group] holds the breakers of the endpoints of one service as one caller
// sees them. Each call asks its [Endpoint] for a [Permit] and reports the
// [Result] with [Permit.Done]. Which results open a breaker, how it recovers,
// and what may never happen whatever the results say are the three parts of a
// [Config]: [Detectors], [Recovery] and [Guards]. Presets give the documented
// defaults of Linkerd and of Envoy. [Limits] and [RetryBudget] bound what is
// in flight. [Breaker] is the short form for a Go program that guards one
// function or one client.
//
// # States
//
//	         a detector trips and the guards agree
//	Closed ────────────────────────────────────────► Open ◄──┐
//	   ▲                                              │      │ the probe fails,
//	   │             the back-off is over and a call  │      │ is lost or is
//	   │ success     takes the place of the probe     ▼      │ cancelled
//	   └──────────────────────────────────────── HalfOpen ───┘
//
// With [Timed] recovery there is no HalfOpen: an open endpoint closes at the
// first sweep after its ejection time.
//
// # Time
//
// The package reads no clock on the path of a call, starts no goroutine and
// sets no timer. Time is a [time.Duration] since an arbitrary start, an
// instant, and is passed in; [Monotonic] is the real clock. The owner of a
// Group calls [Group.Sweep] at about [Group.NextSweep], and a caller that waits
// for an endpoint waits for [Group.Available] or until [Group.NextAvailable].
//
// # Concurrency
//
// All methods may be called from many goroutines. [Endpoint.Ready] and
// [Endpoint.Acquire] of a closed endpoint read atomics only; Done holds one
// mutex of the endpoint for some nanoseconds. Neither allocates. Transitions
// take the Group's mutex. Events are delivered one after the other, in order,
// with no lock held.
//
// The package does no I/O, keeps no package state, and imports the standard
// library only.
package breaker
