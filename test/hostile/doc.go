// Package hostile has peers that mean harm, on either side of the proxy: floods
// of frames, headers that swell, windows that never open, bodies that never
// come.
//
// Each test asserts three things: what becomes of the connection, with the error
// code; that the proxy's private memory grows by no more than a stated bound;
// and that a well-behaved connection beside goes on without an error. How much
// slower that connection gets is printed and decides nothing, as it is the
// machine's word as much as the proxy's.
package hostile
