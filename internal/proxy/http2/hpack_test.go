package http2

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

func newDecoder() *decoder {
	cfg := (&Config{MaxHeaderBytes: 1 << 20, MaxHeaders: 1 << 20}).filled()
	d := &decoder{}
	d.init(&cfg)
	return d
}

func pairs(hs []http1.Header) (out []hpack.HeaderField) {
	for _, h := range hs {
		out = append(out, hpack.HeaderField{Name: string(h.Name), Value: string(h.Value), Sensitive: h.Sensitive})
	}
	return out
}

// What we decode is what hpack decodes, block after block on one table.
func FuzzDecodeLikeHpack(f *testing.F) {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, v := range []string{"", "a", "b", "a"} {
		_ = e.WriteField(hpack.HeaderField{Name: "x-field", Value: v})
		_ = e.WriteField(hpack.HeaderField{Name: ":path", Value: "/" + v})
		_ = e.WriteField(hpack.HeaderField{Name: "cookie", Value: v, Sensitive: true})
	}
	f.Add(b.Bytes(), b.Bytes())
	f.Add([]byte{0x3f, 0xe1, 0x1f, 0x82}, []byte{0x20, 0xbe})
	f.Add([]byte{0x82, 0x20}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		ours := newDecoder()
		var want []hpack.HeaderField
		theirs := hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { want = append(want, f) })
		for _, block := range [][]byte{one, two} {
			want = nil
			_, theirErr := theirs.Write(block)
			if closeErr := theirs.Close(); theirErr == nil {
				theirErr = closeErr
			}
			ourErr := ours.decode(block)
			if ourErr != nil {
				// We are stricter in two places: updates behind fields, and
				// integers that nothing needs.
				if theirErr == nil && !errors.Is(ourErr, errUpdate) && !errors.Is(ourErr, errInteger) {
					t.Fatalf("we: %v, hpack takes it: %v", ourErr, want)
				}
				return
			}
			if theirErr != nil && len(block) > 0 && block[0]&0xe0 == 0x20 && strings.Contains(theirErr.Error(), "size update MUST") {
				return // hpack takes only one update, where RFC 7541 section 4.2 has two
			}
			if theirErr != nil {
				t.Fatalf("hpack: %v, we take it: %v", theirErr, pairs(ours.keep()))
			}
			got := pairs(ours.keep())
			if len(got) != len(want) {
				t.Fatalf("%d fields, want %d", len(got), len(want))
			}
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("field %d: %v, want %v", i, got[i], want[i])
				}
			}
			if ours.tableUsed > ours.tableMax {
				t.Fatalf("table of %d bytes, of %d", ours.tableUsed, ours.tableMax)
			}
		}
	})
}

// hpack reads back what we encode, through table sizes that change.
func TestEncodeForHpack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var e encoder
	e.init()
	var got []hpack.HeaderField
	d := hpack.NewDecoder(tableSize, func(f hpack.HeaderField) {
		f.Sensitive = f.Sensitive && !neverIndexed([]byte(f.Name), []byte(f.Value))
		got = append(got, f)
	})
	names := []string{":method", ":path", "accept", "cookie", "authorization", "x-request-id", "x-a", "x-b", "grpc-status"}
	for round := range 20000 {
		if rng.IntN(100) == 0 {
			v := rng.Uint32N(3 * tableSize)
			e.setMax(v)
			if rng.IntN(2) == 0 {
				e.setMax(rng.Uint32N(200))
			}
		}
		var fields []http1.Header
		for range rng.IntN(12) {
			v := strconv.Itoa(rng.IntN(40))
			if rng.IntN(30) == 0 {
				v = string(bytes.Repeat([]byte("v"), rng.IntN(5000)))
			}
			f := field(names[rng.IntN(len(names))], v)
			f.Sensitive = rng.IntN(10) == 0 && !neverIndexed(f.Name, f.Value)
			fields = append(fields, f)
		}
		got = nil
		if _, err := d.Write(e.block(fields)); err != nil {
			t.Fatal(round, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(round, err)
		}
		want := pairs(fields)
		if len(got) != len(want) {
			t.Fatalf("round %d: %d fields, want %d", round, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("round %d, field %d: %v, want %v", round, i, got[i], want[i])
			}
		}
		if e.size > e.max {
			t.Fatalf("table of %d bytes, of %d", e.size, e.max)
		}
	}
	if e.entered < 100 {
		t.Errorf("only %d entries were ever made", e.entered)
	}
}

// The second time a field comes it enters the table, and from then on it is one
// byte; one that never comes again does not push it out.
func TestEncoderTableKeepsWhatRecurs(t *testing.T) {
	var e encoder
	e.init()
	recurring := []http1.Header{field("x-team", "checkout")}
	for range 3 {
		e.block(recurring)
	}
	for i := range 1000 {
		e.block([]http1.Header{field("x-request-id", strconv.Itoa(i))})
	}
	if n := len(e.block(recurring)); n != 1 {
		t.Errorf("%d bytes for a field that recurs", n)
	}
	e.block([]http1.Header{field("authorization", "secret")})
	e.block([]http1.Header{field("authorization", "secret")})
	if b := e.block([]http1.Header{field("authorization", "secret")}); b[0]&0xf0 != 0x10 {
		t.Errorf("a secret is sent as %x", b)
	}
}

// A recurring message costs two allocations to decode and none to encode, and
// the encoder keeps nothing of the caller's.
func TestHpackAllocations(t *testing.T) {
	var e encoder
	e.init()
	d := newDecoder()
	fields := append([]http1.Header(nil), benchRequest...)
	for range 5 {
		if err := d.decode(e.block(fields)); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { e.block(fields) }); n > 0 {
		t.Errorf("%v allocations to encode", n)
	}
	block := bytes.Clone(e.block(fields))
	if n := testing.AllocsPerRun(100, func() { _ = d.decode(block); d.keep() }); n > 1 {
		t.Errorf("%v allocations to decode", n)
	}
	mine := []byte("x-mine-value")
	f := []http1.Header{{Name: []byte("x-mine"), Value: mine}}
	e.block(f)
	e.block(f)
	mine[0] = 'Q'
	if b := e.block([]http1.Header{field("x-mine", "x-mine-value")}); len(b) != 1 {
		t.Errorf("the table changed with the caller's memory: %q", b)
	}
}
