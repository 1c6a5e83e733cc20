package http2

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

var (
	status200 = []http1.Header{field(":status", "200")}
	trailer   = []http1.Header{field("grpc-status", "0")}
	getFields = []http1.Header{field(":method", "GET"), field(":scheme", "http"), field(":authority", "a.b"), field(":path", "/")}
)

// bodyOf gives the DATA of a stream, and whether it ended.
func bodyOf(frames []seen, id uint32) (n int, end bool) {
	for _, f := range frames {
		if f.id != id {
			continue
		}
		if f.t == http2.FrameData {
			n += len(f.data)
		}
		if (f.t == http2.FrameData || f.t == http2.FrameHeaders) && f.f.Has(http2.FlagDataEndStream) {
			end = true
		}
	}
	return n, end
}

// What the windows do not let out waits on its stream, and trailers wait behind
// it; windows may become negative.
func TestWindows(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		p.headers(1, true, p.get())
		synctest.Wait()
		l := ls.all[0]
		l.s.SendHead(status200, false)
		if left := l.s.SendData(make([]byte, 100), false); left != 10 {
			t.Errorf("%d bytes left at once", left)
		}
		if q := l.s.Queued(); q != 90 {
			t.Errorf("%d bytes wait", q)
		}
		fields := slices.Clone(trailer)
		fields[0].Value = []byte("0")
		l.s.SendHead(fields, true)
		fields[0].Value[0] = '7' // they are not kept
		p.c.Flush()
		grow := func(n uint32) func(fr *http2.Framer) {
			return func(fr *http2.Framer) { _ = fr.WriteWindowUpdate(1, n) }
		}
		want := func(n int, end bool) {
			t.Helper()
			if got, e := bodyOf(p.all(), 1); got != n || e != end {
				t.Errorf("%d bytes %v came, want %d %v", got, e, n, end)
			}
		}
		want(10, false)
		p.send(grow(20))
		want(30, false)
		p.send(func(fr *http2.Framer) {
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}) // -10
		})
		p.send(grow(10)) // 0
		want(30, false)
		p.send(grow(1))
		want(31, false)
		p.send(func(fr *http2.Framer) {
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
		})
		want(36, false)
		p.send(grow(1000))
		want(100, true)
		if l.sent != 90 {
			t.Errorf("told of %d sent", l.sent)
		}
		if f, _ := p.find(http2.FrameHeaders); !slices.Equal(f.fields, []string{"grpc-status=0"}) {
			t.Errorf("trailers: %v", f)
		}
		if l.closed != 1 || l.err != nil {
			t.Errorf("%q", l.events)
		}
	})
}

// The window of the connection is shared in turn; a stream whose own window is
// shut holds back none but itself.
func TestConnectionWindowIsShared(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		for _, id := range []uint32{1, 3, 5} {
			p.headers(id, true, p.get())
		}
		synctest.Wait()
		for _, l := range ls.all {
			l.s.SendHead(status200, false)
			l.s.SendData(make([]byte, 400<<10), true)
		}
		p.c.Flush()
		if n, _ := bodyOf(p.all(), 1); n != defaultWindow {
			t.Errorf("%d bytes of the first", n)
		}
		for range 30 {
			p.send(func(fr *http2.Framer) { _ = fr.WriteWindowUpdate(0, 16384) })
		}
		var got [3]int
		for i := range got {
			got[i], _ = bodyOf(p.all(), uint32(2*i+1))
		}
		if min(got[0]-defaultWindow, got[1], got[2]) < 9*16384 {
			t.Errorf("not shared in turn: %v", got)
		}
		p.send(func(fr *http2.Framer) { _ = fr.WriteWindowUpdate(0, 1<<21) })
		for id := uint32(1); id < 6; id += 2 {
			if n, end := bodyOf(p.all(), id); n != 400<<10 || !end {
				t.Errorf("stream %d: %d bytes, %v", id, n, end)
			}
		}
	})
	ls.check(t)
}

// The out buffer is bounded: DATA waits on its stream while the peer does not
// read, and other streams' heads still go out after it does.
func TestOutBufferIsBounded(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		p.send(func(fr *http2.Framer) { _ = fr.WriteWindowUpdate(0, 1<<30) })
		p.headers(1, true, p.get())
		synctest.Wait()
		resume := p.pause()
		l := ls.all[0]
		l.s.SendHead(status200, false)
		l.s.SendData(make([]byte, 4<<20), true)
		p.c.Flush()
		synctest.Wait()
		if n := p.c.outBytes(); n > 300<<10 {
			t.Errorf("%d bytes in the out buffer", n)
		}
		resume()
		if n, end := bodyOf(p.all(), 1); n != 4<<20 || !end {
			t.Errorf("%d bytes, %v", n, end)
		}
		if l.sent < 3<<20 {
			t.Errorf("told of %d", l.sent)
		}
	})
	ls.check(t)
}

// Window is given back as it is consumed, in halves; that of the connection at
// once, also for what nobody wants.
func TestReceiveWindows(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{StreamWindow: 100000}, ls.accept, func(p *peer) {
		p.settle()
		p.headers(1, false, p.get())
		chunk := make([]byte, 10000)
		for range 10 {
			p.send(func(fr *http2.Framer) { _ = fr.WriteData(1, false, chunk) })
		}
		synctest.Wait()
		l := ls.all[0]
		count := func(id uint32) (n int) {
			for _, f := range p.all() {
				if f.t == http2.FrameWindowUpdate && f.id == id {
					n += f.n
				}
			}
			return n
		}
		if n := count(1); n != 0 {
			t.Errorf("%d given back unasked", n)
		}
		l.s.Consumed(49999)
		p.c.Flush()
		if n := count(1); n != 0 {
			t.Errorf("%d given back too early", n)
		}
		l.s.Consumed(1)
		p.c.Flush()
		if n := count(1); n != 50000 {
			t.Errorf("%d given back", n)
		}
		p.send(func(fr *http2.Framer) { _ = fr.WriteRSTStream(1, http2.ErrCodeCancel) })
		before := count(0)
		for id := uint32(3); id < 203; id += 2 { // refused or reset: counts all the same
			p.headers(id, false, p.get("te", "gzip"))
			p.send(func(fr *http2.Framer) { _ = fr.WriteData(id, false, chunk) })
		}
		if n := count(0) - before; n < 500000 {
			t.Errorf("%d given back for a million thrown away", n)
		}
		if p.c.Err() != nil {
			t.Error(p.c.Err())
		}
	})
	ls.check(t)
}

// Until our SETTINGS are acknowledged a peer may use the window that all begin
// with; then it holds itself to the smaller one.
func TestSmallWindowBeforeAcknowledgement(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{StreamWindow: 10}, ls.accept, func(p *peer) {
		p.send(func(fr *http2.Framer) { _ = fr.WriteSettings() })
		p.headers(1, false, p.get())
		p.send(func(fr *http2.Framer) {
			_ = fr.WriteData(1, false, make([]byte, 16384))
			_ = fr.WriteSettingsAck()
		})
		p.headers(3, false, p.get())
		p.send(func(fr *http2.Framer) { _ = fr.WriteData(3, false, make([]byte, 11)) })
		p.wantReset(3, http2.ErrCodeFlowControl)
		if l := ls.all[0]; l.closed != 0 || len(l.body) != 16384 {
			t.Errorf("%q", l.events)
		}
	})
	ls.check(t)
}

// Reset within an event, and RST_STREAM of a server that has answered: it comes
// after the answer, however long that waits.
func TestReset(t *testing.T) {
	ls := &logs{on: func(s *Stream, _ *Head, _ bool) {
		if s.ID() == 1 {
			s.Reset(http2.ErrCodeCancel)
		}
	}}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		p.headers(1, false, p.get())
		p.wantReset(1, http2.ErrCodeCancel)
		p.send(func(fr *http2.Framer) {
			_ = fr.WriteData(1, false, []byte("late"))
			_ = fr.WriteData(1, true, []byte("later"))
		})
		p.headers(3, false, p.get())
		synctest.Wait()
		l := ls.all[1]
		l.hook = func(string) { l.s.Reset(http2.ErrCodeInternal) }
		p.send(func(fr *http2.Framer) {
			_ = fr.WriteData(3, false, []byte("a"))
			_ = fr.WriteData(3, false, []byte("b"))
		})
		p.wantReset(3, http2.ErrCodeInternal)
		if len(l.events) != 2 {
			t.Errorf("%q", l.events)
		}

		p.headers(5, false, p.get())
		synctest.Wait()
		l = ls.all[2]
		l.s.SendHead(status200, false)
		l.s.SendData(make([]byte, 30), true)
		l.s.Reset(http2.ErrCodeNo)
		p.c.Flush()
		p.send(func(fr *http2.Framer) { _ = fr.WriteData(5, false, []byte("unwanted")) })
		if n, _ := bodyOf(p.all(), 5); n != 10 {
			t.Errorf("%d bytes", n)
		}
		p.send(func(fr *http2.Framer) { _ = fr.WriteWindowUpdate(5, 100) })
		if n, end := bodyOf(p.all(), 5); n != 30 || !end {
			t.Errorf("%d bytes, %v", n, end)
		}
		p.wantReset(5, http2.ErrCodeNo)
		fs := p.all()
		if f := fs[len(fs)-1]; f.t != http2.FrameRSTStream {
			t.Errorf("behind the answer: %v", f)
		}
		if p.c.Streams() != 0 || p.c.Err() != nil {
			t.Error(p.c.Streams(), p.c.Err())
		}
	})
	for _, l := range ls.all {
		if l.closed != 0 {
			t.Errorf("told after Reset: %q", l.events)
		}
	}
}

// Events come in order, with trailers last.
func TestEventsOfARequest(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle()
		p.headers(1, false, p.get())
		p.send(func(fr *http2.Framer) {
			_ = fr.WriteDataPadded(1, false, []byte("abc"), make([]byte, 20))
			_ = fr.WriteData(1, false, nil)
		})
		p.headers(1, true, p.block("x-sum", "1"))
		synctest.Wait()
		l := ls.all[0]
		l.s.SendHead(status200, false)
		l.s.SendData([]byte("x"), false)
		l.s.SendHead(trailer, true)
		p.c.Flush()
		p.all()
		want := "request / false|data 3 false|trailers 1|closed <nil>"
		if got := strings.Join(l.events, "|"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// A server goes in peace: the stream that was on its way is served, the last id
// is told, and it ends with the last stream.
func TestServerShutdown(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle()
		p.headers(1, true, p.get())
		synctest.Wait()
		p.c.Shutdown()
		f, _ := p.find(http2.FrameGoAway)
		if f.last != maxStreamID || f.code != http2.ErrCodeNo || !p.c.Draining() {
			t.Errorf("first %v", f)
		}
		p.headers(3, true, p.get()) // it was on its way
		ping, ok := p.find(http2.FramePing)
		if !ok {
			t.Fatal("no PING")
		}
		_ = ping
		p.send(func(fr *http2.Framer) { _ = fr.WritePing(true, payloadDrain) })
		if f, _ = p.find(http2.FrameGoAway); f.last != 3 {
			t.Errorf("second %v", f)
		}
		p.headers(5, false, p.get()) // too late
		p.send(func(fr *http2.Framer) { _ = fr.WriteData(5, true, []byte("x")) })
		synctest.Wait()
		if len(ls.all) != 2 {
			t.Fatalf("%d streams", len(ls.all))
		}
		for _, l := range ls.all {
			l.s.SendHead(status200, true)
		}
		p.c.Flush()
		synctest.Wait()
		pass(2 * lingerTime)
		<-p.end
		if p.c.Err() != nil || !p.dead {
			t.Error(p.c.Err())
		}
	})
	ls.check(t)
}

// Without an answer to its PING, the second GOAWAY is sent after a second; an
// idle connection then ends.
func TestServerShutdownWithoutPing(t *testing.T) {
	withServer(t, Config{}, (&logs{}).accept, func(p *peer) {
		p.settle()
		p.c.Shutdown()
		pass(drainTime + 200*time.Millisecond)
		if f, _ := p.find(http2.FrameGoAway); f.last != 0 {
			t.Errorf("%v", f)
		}
		<-p.end
		if p.c.Err() != nil {
			t.Error(p.c.Err())
		}
	})
}

// What holds the peer to time: its SETTINGS, its acknowledgement, signs of life.
func TestTimes(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg   Config
		do    func(p *peer)
		after time.Duration
		code  http2.ErrCode
	}{
		"no SETTINGS": {Config{}, func(*peer) {}, 10 * time.Second, http2.ErrCodeSettingsTimeout},
		"not acknowledged": {Config{}, func(p *peer) {
			p.send(func(fr *http2.Framer) { _ = fr.WriteSettings() })
		}, 10 * time.Second, http2.ErrCodeSettingsTimeout},
		"no sign of life": {Config{KeepAlive: 30 * time.Second}, func(p *peer) { p.settle() }, 50 * time.Second, http2.ErrCodeNo},
	} {
		t.Run(name, func(t *testing.T) {
			withServer(t, tc.cfg, (&logs{}).accept, func(p *peer) {
				tc.do(p)
				pass(tc.after - 500*time.Millisecond)
				if f, ok := p.find(http2.FrameGoAway); ok {
					t.Errorf("too early: %v", f)
				}
				pass(time.Second)
				p.wantGoAway(tc.code)
			})
		})
	}
	withServer(t, Config{KeepAlive: time.Second, KeepAliveTimeout: time.Second}, (&logs{}).accept, func(p *peer) {
		p.settle()
		for range 50 {
			pass(500 * time.Millisecond)
			if f, ok := p.find(http2.FramePing); ok && !f.f.Has(http2.FlagPingAck) {
				p.send(func(fr *http2.Framer) { _ = fr.WritePing(true, payloadAlive) })
			}
		}
		if p.c.Err() != nil {
			t.Error(p.c.Err())
		}
	})
}

// Close ends all streams, each exactly once, also when called within an event.
func TestClose(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle()
		for i := range 10 {
			p.headers(uint32(2*i+1), false, p.get())
		}
		synctest.Wait()
		ls.all[3].hook = func(what string) {
			if strings.HasPrefix(what, "data") {
				p.c.Close(http2.ErrCodeInternal, "because")
			}
		}
		p.send(func(fr *http2.Framer) { _ = fr.WriteData(7, false, []byte("x")) })
		f, _ := p.find(http2.FrameGoAway)
		if f.debug != "because" || f.last != 19 {
			t.Errorf("%v", f)
		}
		p.wantGoAway(http2.ErrCodeInternal)
		ls.all[0].s.SendData([]byte("late"), true)
		ls.all[0].s.Reset(http2.ErrCodeCancel)
		p.c.Flush()
	})
	ls.check(t)
	for _, l := range ls.all {
		if e, ok := l.err.(*StreamError); !ok || !e.Conn || e.Remote { //nolint:errorlint // the type itself
			t.Errorf("%v", l.err)
		}
	}
}

// The client's role: interim and final heads, trailers, and what is malformed.
func TestResponses(t *testing.T) {
	for name, tc := range map[string]struct {
		method string
		send   func(p *peer)
		want   string
	}{
		"plain": {"GET", func(p *peer) {
			p.headers(1, false, p.block(":status", "200", "content-length", "2"))
			p.send(func(fr *http2.Framer) { _ = fr.WriteData(1, true, []byte("ok")) })
		}, "head 200 false|data 2 true|closed <nil>"},
		"interim and trailers": {"GET", func(p *peer) {
			p.headers(1, false, p.block(":status", "100"))
			p.headers(1, false, p.block(":status", "103", "link", "x"))
			p.headers(1, false, p.block(":status", "200"))
			p.send(func(fr *http2.Framer) { _ = fr.WriteData(1, false, []byte("ok")) })
			p.headers(1, true, p.block("grpc-status", "0"))
		}, "head 100 false|head 103 false|head 200 false|data 2 false|trailers 1|closed <nil>"},
		"HEAD": {"HEAD", func(p *peer) {
			p.headers(1, true, p.block(":status", "200", "content-length", "2"))
		}, "head 200 true|closed <nil>"},
		"304": {"GET", func(p *peer) {
			p.headers(1, true, p.block(":status", "304", "content-length", "2"))
		}, "head 304 true|closed <nil>"},
		"reset": {"GET", func(p *peer) {
			p.headers(1, false, p.block(":status", "200"))
			p.send(func(fr *http2.Framer) { _ = fr.WriteRSTStream(1, http2.ErrCodeInternal) })
		}, "head 200 false|closed http2: stream ended by peer: INTERNAL_ERROR"},
		"refused": {"GET", func(p *peer) {
			p.send(func(fr *http2.Framer) { _ = fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) })
		}, "closed http2: stream ended by peer: REFUSED_STREAM (not processed)"},
		"DATA first": {"GET", func(p *peer) {
			p.send(func(fr *http2.Framer) { _ = fr.WriteData(1, true, []byte("ok")) })
		}, "closed http2: stream ended by us: PROTOCOL_ERROR: DATA before the head"},
		"HEAD with a body": {"HEAD", func(p *peer) {
			p.headers(1, false, p.block(":status", "200"))
			p.send(func(fr *http2.Framer) { _ = fr.WriteData(1, true, []byte("ok")) })
		}, "head 200 false|closed http2: stream ended by us: PROTOCOL_ERROR: DATA of another length than content-length"},
		"101":           {"GET", func(p *peer) { p.headers(1, false, p.block(":status", "101")) }, malformed(badInterim)},
		"interim end":   {"GET", func(p *peer) { p.headers(1, true, p.block(":status", "100")) }, malformed(badInterim)},
		"no status":     {"GET", func(p *peer) { p.headers(1, true, p.block("a", "b")) }, malformed(badStatus)},
		"status 99":     {"GET", func(p *peer) { p.headers(1, true, p.block(":status", "099")) }, malformed(badStatus)},
		"status 4":      {"GET", func(p *peer) { p.headers(1, true, p.block(":status", "2000")) }, malformed(badStatus)},
		"request field": {"GET", func(p *peer) { p.headers(1, true, p.block(":status", "200", ":path", "/")) }, malformed(badPseudo)},
		"short":         {"GET", func(p *peer) { p.headers(1, true, p.block(":status", "200", "content-length", "2")) }, malformed(badLength)},
		"too large": {"GET", func(p *peer) {
			b := p.block(":status", "200", "a", strings.Repeat("v", 70000))
			p.send(func(fr *http2.Framer) {
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:16384]})
				for b = b[16384:]; len(b) > 16384; b = b[16384:] {
					_ = fr.WriteContinuation(1, false, b[:16384])
				}
				_ = fr.WriteContinuation(1, true, b)
			})
		}, "closed http2: stream ended by us: ENHANCE_YOUR_CALM: response head too large"},
	} {
		t.Run(name, func(t *testing.T) {
			withClient(t, Config{}, nil, func(p *peer) {
				p.settle()
				l := &logSink{eat: true}
				fields := slices.Clone(getFields)
				fields[0].Value = []byte(tc.method)
				if _, err := p.c.Open(fields, true, l); err != nil {
					t.Fatal(err)
				}
				p.c.Flush()
				synctest.Wait()
				tc.send(p)
				p.all()
				if got := strings.Join(l.events, "|"); got != tc.want {
					t.Errorf("got  %s\nwant %s", got, tc.want)
				}
				if p.c.Err() != nil {
					t.Error(p.c.Err())
				}
			})
		})
	}
}

func malformed(reason string) string {
	return "closed http2: stream ended by us: PROTOCOL_ERROR: " + reason
}

// Room follows the peer's limit; onRoom is called when there is some again.
func TestRoom(t *testing.T) {
	calls := 0
	withClient(t, Config{}, func(*Conn) { calls++ }, func(p *peer) {
		if n := p.c.Room(); n != 100 || p.c.PeerSettled() {
			t.Errorf("%d before SETTINGS", n)
		}
		p.settle(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2}, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
		if n := p.c.Room(); n != 2 || !p.c.PeerSettled() || !p.c.PeerExtendedConnect() {
			t.Errorf("%d after SETTINGS", n)
		}
		var ss []*Stream
		for range 2 {
			s, err := p.c.Open(getFields, true, &logSink{})
			if err != nil {
				t.Fatal(err)
			}
			ss = append(ss, s)
		}
		if _, err := p.c.Open(getFields, true, &logSink{}); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		p.c.Flush()
		synctest.Wait()
		calls = 0
		p.headers(1, true, p.block(":status", "200"))
		if p.all(); calls != 1 || p.c.Room() != 1 {
			t.Errorf("%d calls, room for %d", calls, p.c.Room())
		}
		ss[1].Reset(http2.ErrCodeCancel)
		if p.c.Room() != 2 {
			t.Error(p.c.Room())
		}
		p.settle(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 5})
		if calls != 2 || p.c.Room() != 5 {
			t.Errorf("%d calls, room for %d", calls, p.c.Room())
		}
		p.c.Shutdown()
		p.all()
		if _, err := p.c.Open(getFields, true, &logSink{}); err == nil || calls != 3 {
			t.Error(err, calls)
		}
		<-p.end
	})
}

// GOAWAY: streams above the last id were not processed, those below go on.
func TestGoAwayFromServer(t *testing.T) {
	withClient(t, Config{}, nil, func(p *peer) {
		p.settle()
		var ls []*logSink
		for range 3 {
			l := &logSink{}
			if _, err := p.c.Open(getFields, true, l); err != nil {
				t.Fatal(err)
			}
			ls = append(ls, l)
		}
		p.c.Flush()
		p.send(func(fr *http2.Framer) { _ = fr.WriteGoAway(maxStreamID, http2.ErrCodeNo, nil) })
		if p.all(); !p.c.Draining() || p.c.Streams() != 3 {
			t.Error("after the first GOAWAY", p.c.Streams())
		}
		p.send(func(fr *http2.Framer) { _ = fr.WriteGoAway(3, http2.ErrCodeNo, nil) })
		p.all()
		if e, ok := ls[2].err.(*StreamError); !ok || !e.Unprocessed { //nolint:errorlint // the type itself
			t.Errorf("%v", ls[2].err)
		}
		p.headers(1, true, p.block(":status", "200"))
		p.headers(3, true, p.block(":status", "200"))
		<-p.end
		for i, l := range ls {
			if l.closed != 1 || i < 2 && l.err != nil {
				t.Errorf("%d: %q", i, l.events)
			}
		}
		if p.c.Err() != nil {
			t.Error(p.c.Err())
		}
	})
	withClient(t, Config{}, nil, func(p *peer) {
		p.settle()
		l := &logSink{}
		_, _ = p.c.Open(getFields, true, l)
		p.c.Flush()
		p.send(func(fr *http2.Framer) { _ = fr.WriteGoAway(1, http2.ErrCodeEnhanceYourCalm, []byte("why")) })
		p.nc.Close()
		<-p.end
		want := "closed http2: connection ended by peer: ENHANCE_YOUR_CALM: http2: connection ended by peer: ENHANCE_YOUR_CALM: why"
		if got := strings.Join(l.events, "|"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// Large heads are cut into frames that the peer takes, and come back whole.
func TestLargeHeads(t *testing.T) {
	big := field("x-big", strings.Repeat("v", 50000))
	ls := &logs{on: func(s *Stream, _ *Head, _ bool) { s.SendHead(append(slices.Clone(status200), big), true) }}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle()
		p.headers(1, true, p.get())
		var kinds []string
		for _, f := range p.all() {
			if f.id == 1 {
				kinds = append(kinds, fmt.Sprint(f.t, f.n, f.f))
			}
		}
		if len(kinds) != 4 || !strings.HasPrefix(kinds[0], "HEADERS 16384") || !strings.HasPrefix(kinds[3], "CONTINUATION") {
			t.Errorf("%q", kinds)
		}
		if f := p.all()[len(p.all())-1]; len(f.fields) != 2 || len(f.fields[1]) != 50006 {
			t.Errorf("%d fields", len(f.fields))
		}
	})
}

// Frames may come in pieces of any size.
func TestFramesInPieces(t *testing.T) {
	for _, size := range []int{1, 2, 7, 9, 10, 100} {
		ls := &logs{eat: true}
		withServer(t, Config{}, ls.accept, func(p *peer) {
			p.settle()
			block := p.get()
			p.buf.Reset()
			for id := uint32(1); id < 9; id += 2 {
				_ = p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:3], PadLength: 3, Priority: http2.PriorityParam{StreamDep: 9, Weight: 1}})
				_ = p.fr.WriteContinuation(id, true, block[3:])
				_ = p.fr.WriteDataPadded(id, false, bytes.Repeat([]byte("x"), 300), make([]byte, 200))
				_ = p.fr.WritePing(false, [8]byte{})
				_ = p.fr.WriteData(id, true, nil)
			}
			for b := bytes.Clone(p.buf.Bytes()); len(b) > 0; {
				n := min(size, len(b))
				p.write(b[:n])
				b = b[n:]
			}
			synctest.Wait()
			if len(ls.all) != 4 {
				t.Fatalf("size %d: %d streams: %v", size, len(ls.all), p.all())
			}
			for _, l := range ls.all {
				if len(l.body) != 300 || !strings.HasSuffix(l.events[len(l.events)-1], "true") {
					t.Errorf("size %d: %q", size, l.events)
				}
			}
		})
	}
}

// A stream that is never empty for long gives back what it has sent.
func TestQueueIsCompacted(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10000})
		p.headers(1, true, p.get())
		synctest.Wait()
		s := ls.all[0].s
		s.SendHead(status200, false)
		s.SendData(make([]byte, 20000), false)
		for range 300 {
			s.SendData(make([]byte, 10000), false)
			p.send(func(fr *http2.Framer) {
				_ = fr.WriteWindowUpdate(1, 10000)
				_ = fr.WriteWindowUpdate(0, 10000)
			})
			synctest.Wait()
		}
		if n := cap(s.queue); n > 100000 {
			t.Errorf("%d bytes kept for %d that wait", n, s.Queued())
		}
		if n, _ := bodyOf(p.all(), 1); n != 3010000 {
			t.Errorf("%d bytes", n)
		}
	})
	ls.check(t)
}

// Close is heard by a reader that waits for its peer to read.
func TestCloseWhileReaderWaits(t *testing.T) {
	big := field("x-big", strings.Repeat("v", 10000))
	ls := &logs{on: func(s *Stream, _ *Head, _ bool) { s.SendHead(append(slices.Clone(status200), big), true) }}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle()
		defer p.pause()()
		go func() {
			for id := uint32(1); p.headers(id, true, p.get()); id += 2 {
			}
		}()
		synctest.Wait()
		p.c.Close(http2.ErrCodeNo, "")
		pass(2 * lingerTime)
		select {
		case <-p.end:
		default:
			t.Error("it still waits")
		}
	})
	ls.check(t)
}

// Heads that come after the end cost no more than other idle frames.
func TestHeadsAfterGoAway(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle()
		p.headers(1, false, p.get())
		p.c.Shutdown()
		synctest.Wait()
		p.send(func(fr *http2.Framer) { _ = fr.WritePing(true, payloadDrain) })
		for i := 1; p.c.Err() == nil && i < 3000; i++ {
			p.headers(uint32(2*i+1), true, p.get())
			synctest.Wait()
		}
		p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
		if len(ls.all) != 1 {
			t.Errorf("%d streams", len(ls.all))
		}
	})
	ls.check(t)
}

// Streams may be used, reset and flushed by many goroutines at a time.
func TestManyGoroutines(t *testing.T) {
	l := listen(t)
	var mu sync.Mutex
	streams := map[*Stream]bool{}
	ls := &logs{eat: true, on: func(s *Stream, _ *Head, _ bool) {
		mu.Lock()
		streams[s] = true
		mu.Unlock()
	}}
	serveOn(t, l, nil, ls.accept)
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(nc, nil, nil)
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Serve() })
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() { // clients
			for i := range 300 {
				s, err := c.Open(getFields, false, &logSink{eat: true})
				if err != nil {
					c.Flush()
					continue
				}
				s.SendData(make([]byte, 1000*w), i%2 == 0)
				if i%3 == 0 {
					s.Reset(http2.ErrCodeCancel)
				}
				c.Flush()
			}
		})
	}
	var answering sync.WaitGroup
	for w := range 4 {
		answering.Go(func() { // servers
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				for s := range streams {
					s.SendHead(status200, false)
					s.SendData(make([]byte, 3000), true)
					if w == 0 {
						s.Reset(http2.ErrCodeNo)
					}
					s.Conn().Flush()
					delete(streams, s)
					break
				}
				mu.Unlock()
				runtime.Gosched()
			}
		})
	}
	workers.Wait()
	close(stop)
	answering.Wait()
	c.Close(http2.ErrCodeNo, "")
	wg.Wait()
	if c.Streams() != 0 || c.helpers != 0 {
		t.Errorf("%d streams, %d goroutines", c.Streams(), c.helpers)
	}
}
