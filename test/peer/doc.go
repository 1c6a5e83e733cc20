// Package peer speaks HTTP/2 frame by frame, as either role. It says exactly
// what it is told, right or wrong, and tells everything that it hears: the
// suites are hostile with it, and tunnel through it.
//
// Only Tunnel keeps to flow control; all else writes what the caller wants.
package peer
