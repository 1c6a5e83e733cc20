package bridge

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it; nothing is protected by it
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

var websocket = []byte("websocket")

const (
	keyField    = "sec-websocket-key"
	acceptField = "sec-websocket-accept"
	keyLine     = "Sec-WebSocket-Key: "
	keyLen      = 24 // 16 bytes in base64
	acceptLen   = 28 // 20 bytes in base64
)

// WebSocket tells whether r opens a WebSocket in a way that the other version
// can say as well: an upgrade by a bodiless GET with one key (RFC 6455 section
// 4.1), or an extended CONNECT (RFC 8441). Any other offer to upgrade is not
// taken along to HTTP/2; the request is then an ordinary one (RFC 9110 section
// 7.8).
func WebSocket(r *http1.Request) bool {
	if !http1.EqualFold(r.Upgrade, "websocket") {
		return false
	}
	return extended(r) || string(r.Method) == "GET" && r.Body.Kind == http1.BodyNone && key(r.Headers) != nil
}

// extended tells an extended CONNECT.
func extended(r *http1.Request) bool {
	return r.Upgrade != nil && !r.Connect && string(r.Method) == "CONNECT"
}

// key is the WebSocket's key, nil where there is none, or more than one, or it
// is no such key.
func key(hs []http1.Header) (key []byte) {
	for i := range hs {
		if !http1.EqualFold(hs[i].Name, keyField) {
			continue
		}
		v := hs[i].Value
		if key != nil || len(v) != keyLen || string(v[keyLen-2:]) != "==" {
			return nil
		}
		key = v
	}
	return key
}

// appendKey appends a new key (RFC 6455 section 4.1: a nonce of 16 bytes).
func appendKey(dst []byte) []byte {
	var nonce [16]byte
	binary.LittleEndian.PutUint64(nonce[:], rand.Uint64())
	binary.LittleEndian.PutUint64(nonce[8:], rand.Uint64())
	return base64.StdEncoding.AppendEncode(dst, nonce[:])
}

// WebSocketAccept appends the Sec-WebSocket-Accept, 28 bytes, that answers a key
// (RFC 6455 section 4.2.2).
func WebSocketAccept(dst, key []byte) []byte {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	var buf [keyLen + len(guid)]byte
	in := append(append(buf[:0], key...), guid...)
	sum := sha1.Sum(in) //nolint:gosec // see the import
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// WebSocketAccepted tells whether a 101 answers the very WebSocket that was
// asked for: head is what AppendRequest1 made. A client must end the connection
// where it does not (RFC 6455 section 4.1), and towards that endpoint we are the
// client.
func WebSocketAccepted(head []byte, resp *http1.Response) bool {
	_, rest, found := bytes.Cut(head, []byte("\r\n"+keyLine))
	if !found || len(rest) < keyLen || !http1.EqualFold(resp.Upgrade, "websocket") {
		return false
	}
	var buf [acceptLen]byte
	got, _ := http1.Find(resp.Headers, acceptField)
	return bytes.Equal(got, WebSocketAccept(buf[:0], rest[:keyLen]))
}
