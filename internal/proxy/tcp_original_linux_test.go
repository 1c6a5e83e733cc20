package proxy

import "testing"

func TestSockaddrIn(t *testing.T) {
	got := fromSockaddrIn([16]byte{2, 0, 0x0c, 0xea, 10, 1, 2, 3})
	if got.String() != "10.1.2.3:3306" {
		t.Error(got)
	}
}
