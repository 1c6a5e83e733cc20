package http2

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Each flood ends with GOAWAY ENHANCE_YOUR_CALM after a bounded number of
// frames; no stream is left, and every sink has had its end.
func TestFloods(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit int // of rounds, by which it must have ended
		round func(p *peer, i int) bool
	}{
		{"rapid reset", 1100, func(p *peer, i int) bool {
			id := uint32(2*i + 1)
			block := p.get()
			return p.send(func(fr *http2.Framer) {
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: block})
				_ = fr.WriteRSTStream(id, http2.ErrCodeCancel)
			})
		}},
		{"made you reset by WINDOW_UPDATE", 1100, func(p *peer, i int) bool {
			return p.headers(uint32(2*i+1), true, p.get()) && p.send(func(fr *http2.Framer) {
				_ = fr.WriteWindowUpdate(uint32(2*i+1), 0)
			})
		}},
		{"made you reset by an overflow", 1100, func(p *peer, i int) bool {
			return p.headers(uint32(2*i+1), true, p.get()) && p.send(func(fr *http2.Framer) {
				_ = fr.WriteWindowUpdate(uint32(2*i+1), maxWindow)
			})
		}},
		{"made you reset by DATA behind the end", 1100, func(p *peer, i int) bool {
			return p.headers(uint32(2*i+1), true, p.get()) && p.send(func(fr *http2.Framer) {
				_ = fr.WriteData(uint32(2*i+1), true, []byte("x"))
			})
		}},
		{"made you reset by a wrong length", 1100, func(p *peer, i int) bool {
			return p.headers(uint32(2*i+1), false, p.get("content-length", "5")) && p.send(func(fr *http2.Framer) {
				_ = fr.WriteData(uint32(2*i+1), true, []byte("x"))
			})
		}},
		{"malformed requests", 1100, func(p *peer, i int) bool {
			return p.headers(uint32(2*i+1), true, p.get("Upper", "case"))
		}},
		{"more streams than allowed", 1300, func(p *peer, i int) bool {
			return p.headers(uint32(2*i+1), false, p.get())
		}},
		{"SETTINGS", 110, func(p *peer, _ int) bool {
			return p.send(func(fr *http2.Framer) {
				_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
			})
		}},
		{"acknowledgements of SETTINGS", 110, func(p *peer, _ int) bool {
			return p.send(func(fr *http2.Framer) { _ = fr.WriteSettingsAck() })
		}},
		{"PING", 2100, func(p *peer, _ int) bool {
			return p.send(func(fr *http2.Framer) { _ = fr.WritePing(false, [8]byte{}) })
		}},
		{"acknowledgements of PING", 2100, func(p *peer, _ int) bool {
			return p.send(func(fr *http2.Framer) { _ = fr.WritePing(true, [8]byte{}) })
		}},
		{"empty DATA", 2100, func(p *peer, i int) bool {
			if i == 0 {
				p.headers(1, false, p.get())
			}
			return p.send(func(fr *http2.Framer) { _ = fr.WriteData(1, false, nil) })
		}},
		{"DATA of padding alone", 2100, func(p *peer, i int) bool {
			if i == 0 {
				p.headers(1, false, p.get())
			}
			return p.send(func(fr *http2.Framer) { _ = fr.WriteDataPadded(1, false, nil, make([]byte, 10)) })
		}},
		{"PRIORITY", 2100, func(p *peer, _ int) bool {
			return p.send(func(fr *http2.Framer) { _ = fr.WritePriority(1, http2.PriorityParam{StreamDep: 3}) })
		}},
		{"WINDOW_UPDATE", 2100, func(p *peer, _ int) bool {
			return p.send(func(fr *http2.Framer) { _ = fr.WriteWindowUpdate(0, 1) })
		}},
		{"GOAWAY", 2100, func(p *peer, i int) bool {
			if i == 0 {
				p.headers(1, false, p.get())
			}
			return p.send(func(fr *http2.Framer) { _ = fr.WriteGoAway(0, http2.ErrCodeNo, nil) })
		}},
		{"RST_STREAM of a closed stream", 2100, func(p *peer, i int) bool {
			if i == 0 {
				p.headers(1, false, p.get())
			}
			return p.send(func(fr *http2.Framer) { _ = fr.WriteRSTStream(1, http2.ErrCodeCancel) })
		}},
		{"unknown frames", 2100, func(p *peer, _ int) bool {
			return p.send(func(fr *http2.Framer) { _ = fr.WriteRawFrame(0x77, 0, 0, []byte("x")) })
		}},
		{"empty CONTINUATION", 70, func(p *peer, i int) bool {
			return p.send(func(fr *http2.Framer) {
				if i == 0 {
					_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: nil})
				}
				_ = fr.WriteContinuation(1, false, nil)
			})
		}},
		{"full CONTINUATION", 70, func(p *peer, i int) bool {
			return p.send(func(fr *http2.Framer) {
				if i == 0 {
					_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.get()})
				}
				_ = fr.WriteContinuation(1, false, make([]byte, 16384))
			})
		}},
		{"HPACK bombs", 1100, func(p *peer, i int) bool {
			return p.headers(uint32(2*i+1), true, bomb(i))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ls := &logs{}
			withServer(t, Config{}, ls.accept, func(p *peer) {
				p.settle()
				rounds := 0
				for p.c.Err() == nil {
					if !tc.round(p, rounds) {
						break
					}
					if rounds++; rounds > tc.limit {
						t.Fatalf("still going after %d rounds", rounds)
					}
					if n := p.c.Streams(); n > 100 {
						t.Fatalf("%d streams", n)
					}
					synctest.Wait()
				}
				p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
				if n := p.c.Streams(); n != 0 {
					t.Errorf("%d streams left", n)
				}
			})
			ls.check(t)
		})
	}
}

// bomb is a block that says much with few bytes (CVE-2016-1546): the first puts
// a large field in the table, all name it thousands of times.
func bomb(i int) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	if i == 0 {
		_ = e.WriteField(hpack.HeaderField{Name: "x", Value: string(bytes.Repeat([]byte("v"), 4000))})
	}
	b.Write(bytes.Repeat([]byte{0x80 | 62}, 12000))
	return b.Bytes()
}

// A bomb is answered 431, and costs no more than the bound on header sections.
func TestHPACKBombIsAnswered(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{MaxFrameSize: 1 << 20}, ls.accept, func(p *peer) {
		p.settle()
		p.headers(1, false, bomb(0))
		f, ok := p.find(http2.FrameHeaders)
		if !ok || f.fields[0] != ":status=431" {
			t.Errorf("got %v", f)
		}
		p.wantReset(1, http2.ErrCodeNo)
		if n := cap(p.c.in.dec.mem) + 100*cap(p.c.in.dec.fields); n > 256<<10 {
			t.Errorf("%d bytes were kept", n)
		}
		p.headers(3, true, p.get())
		synctest.Wait()
		if len(ls.all) != 1 {
			t.Errorf("the connection does not go on: %v", p.all())
		}
	})
}

// A client that resets old streams, or as many as end well, is no flood.
func TestHonestResetsAreNoFlood(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{MaxResets: 10}, ls.accept, func(p *peer) {
		p.settle()
		for i := range 100 {
			p.headers(uint32(2*i+1), true, p.get())
			pass(resetAge)
			p.send(func(fr *http2.Framer) { _ = fr.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel) })
		}
		if f, ok := p.find(http2.FrameGoAway); ok {
			t.Errorf("old streams: %v", f)
		}
	})
	ls = &logs{on: func(s *Stream, _ *Head, end bool) {
		if end {
			s.SendHead(benchAnswer, true)
		}
	}}
	withServer(t, Config{MaxResets: 10}, ls.accept, func(p *peer) {
		p.settle()
		for i := range 100 {
			p.headers(uint32(4*i+1), true, p.get())
			p.headers(uint32(4*i+3), false, p.get())
			p.send(func(fr *http2.Framer) { _ = fr.WriteRSTStream(uint32(4*i+3), http2.ErrCodeCancel) })
		}
		if f, ok := p.find(http2.FrameGoAway); ok {
			t.Errorf("half of them: %v", f)
		}
	})
	ls.check(t)
}

// A peer that causes answers and does not read them is cut off before they
// take much memory.
func TestUnreadAnswersToFrames(t *testing.T) {
	ls := &logs{}
	withServer(t, Config{MaxIdleFrames: 1 << 30, MaxSettings: 1 << 30}, ls.accept, func(p *peer) {
		p.settle()
		defer p.pause()()
		synctest.Wait()
		n := 0
		for p.send(func(fr *http2.Framer) { _ = fr.WritePing(false, [8]byte{}) }) {
			if n++; n > 1100 {
				t.Fatal("still going")
			}
			if b := p.c.outBytes(); b > 64<<10 {
				t.Fatalf("%d bytes wait", b)
			}
			synctest.Wait()
			if p.c.Draining() {
				break
			}
		}
		if n < 900 {
			t.Errorf("cut off after %d", n)
		}
		pass(2 * lingerTime)
	})
}

func (c *Conn) outBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.bytes
}

// A client that asks and does not read answers is read from no more, and is cut
// off when that lasts.
func TestUnreadResponses(t *testing.T) {
	big := field("x-big", string(bytes.Repeat([]byte("v"), 10000)))
	ls := &logs{on: func(s *Stream, _ *Head, _ bool) {
		s.SendHead(append(slices.Clip(benchAnswer), big), true)
	}}
	withServer(t, Config{}, ls.accept, func(p *peer) {
		p.settle()
		defer p.pause()()
		go func() {
			for id := uint32(1); p.headers(id, true, p.get()); id += 2 {
			}
		}()
		synctest.Wait()
		if n := p.c.outBytes(); n > 1<<20 || n < 512<<10 {
			t.Errorf("%d bytes wait", n)
		}
		pass(p.c.cfg.StallTimeout + time.Second)
		synctest.Wait()
		select {
		case <-p.end:
		default:
			t.Error("not cut off")
		}
	})
	ls.check(t)
}

// What was begun must be finished in time: a head, also when its CONTINUATIONs
// come drop by drop, and any frame but DATA. Frames on the edge of what was read
// do not add up.
func TestHalfBegun(t *testing.T) {
	const bound = time.Second
	for name, f := range map[string]func(p *peer){
		"head": func(p *peer) {
			p.send(func(fr *http2.Framer) {
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.get(), EndStream: true})
			})
			pass(2 * bound)
		},
		"continuations drop by drop": func(p *peer) {
			p.send(func(fr *http2.Framer) {
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.get(), EndStream: true})
			})
			for range 20 {
				pass(bound / 10)
				p.send(func(fr *http2.Framer) { _ = fr.WriteContinuation(1, false, nil) })
			}
		},
		"frame": func(p *peer) {
			p.write([]byte{0, 0, 8, byte(http2.FramePing), 0, 0})
			pass(2 * bound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ls := &logs{}
			withServer(t, Config{HeadTimeout: bound}, ls.accept, func(p *peer) {
				p.settle()
				f(p)
				p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
			})
		})
	}
	t.Run("frames that are always here in part", func(t *testing.T) {
		ls := &logs{}
		ping := []byte{0, 0, 8, byte(http2.FramePing), 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
		withServer(t, Config{HeadTimeout: bound}, ls.accept, func(p *peer) {
			p.settle()
			p.write(ping[:5])
			for range 20 {
				pass(bound / 5)
				p.write(append(append([]byte{}, ping[5:]...), ping[:5]...))
			}
			p.write(ping[5:])
			synctest.Wait()
			if s, ok := p.find(http2.FrameGoAway); ok {
				t.Errorf("ended: %v", s)
			}
		})
	})
}
