package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// Vars is what the variables of a header's value stand for. Fields of which
// nothing is known stay zero: the variable is empty then.
type Vars struct {
	// Request as it came from the caller.
	Request *http1.Request
	// Protocol of the caller: "HTTP/1.1", "HTTP/2" …
	Protocol string
	// Remote and Local are the two ends of the caller's connection.
	Remote, Local netip.AddrPort
	// Start is when the request came.
	Start time.Time
	// Route is the name of the rule, Cluster of the cluster.
	Route, Cluster string
	// Upstream is the endpoint's address, once it is known.
	Upstream string
	// Status and Answer are the answer's; for edits of answers only.
	Status int
	Answer []http1.Header
}

type varKind uint8

const (
	varText varKind = iota
	varRemote
	varRemoteIP
	varRemotePort
	varLocal
	varLocalIP
	varLocalPort
	varProtocol
	varStart
	varRoute
	varCluster
	varUpstream
	varStatus
	varReq
	varResp
)

// variables are the names without arguments. answer: they mean something only
// once there is an answer.
var variables = map[string]struct {
	kind   varKind
	answer bool
}{
	"DOWNSTREAM_REMOTE_ADDRESS":                     {kind: varRemote},
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":        {kind: varRemoteIP},
	"DOWNSTREAM_REMOTE_PORT":                        {kind: varRemotePort},
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS":              {kind: varRemote},
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": {kind: varRemoteIP},
	"DOWNSTREAM_LOCAL_ADDRESS":                      {kind: varLocal},
	"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":         {kind: varLocalIP},
	"DOWNSTREAM_LOCAL_PORT":                         {kind: varLocalPort},
	"PROTOCOL":                                      {kind: varProtocol},
	"START_TIME":                                    {kind: varStart},
	"ROUTE_NAME":                                    {kind: varRoute},
	"UPSTREAM_CLUSTER":                              {kind: varCluster},
	"UPSTREAM_HOST":                                 {kind: varUpstream, answer: true},
	"UPSTREAM_REMOTE_ADDRESS":                       {kind: varUpstream, answer: true},
	"RESPONSE_CODE":                                 {kind: varStatus, answer: true},
}

// part is a piece of a format.
type part struct {
	kind     varKind
	text     string // of varText; the header's name in lower case of varReq, varResp
	fallback string // another header, where the first is absent
	limit    int    // at most as many bytes; 0: all
}

// format is the value of a header in Envoy's form: text with %VARIABLES%, "%%"
// for a percent sign. The variables are
//
//	%DOWNSTREAM_REMOTE_ADDRESS%  also with _WITHOUT_PORT, %DOWNSTREAM_REMOTE_PORT%, and _DIRECT_REMOTE_
//	%DOWNSTREAM_LOCAL_ADDRESS%   also with _WITHOUT_PORT, %DOWNSTREAM_LOCAL_PORT%
//	%PROTOCOL%  %START_TIME%  %ROUTE_NAME%  %UPSTREAM_CLUSTER%
//	%REQ(NAME?OTHER):LENGTH%     a header of the request, another where it is absent, at most so long;
//	                             :METHOD, :PATH and :AUTHORITY too
//	%RESP(NAME?OTHER):LENGTH%    of answers only, as are
//	%RESPONSE_CODE%  %UPSTREAM_HOST%  %UPSTREAM_REMOTE_ADDRESS%
//
// One that is not known is refused: Envoy refuses it too.
type format []part

func parseFormat(text string, side Side) (format, error) {
	var f format
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			f = append(f, part{text: literal.String()})
			literal.Reset()
		}
	}
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "%")
		literal.WriteString(before)
		if !found {
			break
		}
		if strings.HasPrefix(after, "%") {
			literal.WriteByte('%')
			rest = after[1:]
			continue
		}
		name, after, closed := strings.Cut(after, "%")
		if !closed {
			return nil, errors.New(`"%" begins a variable that does not end; a percent sign is "%%"`)
		}
		p, err := parseVariable(name, side)
		if err != nil {
			return nil, err
		}
		flush()
		f = append(f, p)
		rest = after
	}
	flush()
	return f, f.validText()
}

// validText refuses text that a header's value cannot have.
func (f format) validText() error {
	for _, p := range f {
		if p.kind == varText && !http1.ValidValue([]byte("x"+p.text+"x")) {
			return errors.New("has control characters")
		}
	}
	if text, ok := f.constant(); ok && !http1.ValidValue([]byte(text)) {
		return errors.New("must not begin or end with white space")
	}
	return nil
}

func parseVariable(name string, side Side) (part, error) {
	if v, ok := variables[name]; ok {
		if v.answer && side == OfRequest {
			return part{}, fmt.Errorf("%%%s%% is known in answers only", name)
		}
		return part{kind: v.kind}, nil
	}
	kind, args, ok := strings.Cut(name, "(")
	switch {
	case ok && kind == "REQ":
		return parseHeaderVariable(varReq, name, args)
	case ok && kind == "RESP" && side == OfAnswer:
		return parseHeaderVariable(varResp, name, args)
	case ok && kind == "RESP":
		return part{}, fmt.Errorf("%%%s%% is known in answers only", name)
	}
	return part{}, fmt.Errorf("variable %%%s%% is not supported", name)
}

// parseHeaderVariable reads "NAME?OTHER):LENGTH".
func parseHeaderVariable(kind varKind, whole, args string) (part, error) {
	names, length, closed := strings.Cut(args, ")")
	first, other, _ := strings.Cut(names, "?")
	p := part{kind: kind, text: strings.ToLower(first), fallback: strings.ToLower(other)}
	if !closed || p.text == "" {
		return p, fmt.Errorf("variable %%%s%%: must be REQ(NAME) or RESP(NAME)", whole)
	}
	for _, name := range []string{p.text, p.fallback} {
		pseudo := slices.Contains([]string{"", ":method", ":path", ":authority"}, name)
		if !pseudo && !http1.ValidToken([]byte(name)) {
			return p, fmt.Errorf("variable %%%s%%: %q is no header name", whole, name)
		}
	}
	if length == "" {
		return p, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(length, ":"), 10, 16)
	if err != nil || length[0] != ':' || n == 0 {
		return p, fmt.Errorf("variable %%%s%%: %q is no length", whole, length)
	}
	p.limit = int(n)
	return p, nil
}

// constant gives the value if it has no variables.
func (f format) constant() (string, bool) {
	switch {
	case len(f) == 0:
		return "", true
	case len(f) == 1 && f[0].kind == varText:
		return f[0].text, true
	}
	return "", false
}

// append writes the value to arena.
func (f format) append(arena *[]byte, v *Vars) []byte {
	from := len(*arena)
	for i := range f {
		*arena = f[i].append(*arena, v)
	}
	return trimmed((*arena)[from:len(*arena):len(*arena)])
}

// trimmed is a value without white space at its ends, which a variable that is
// empty may leave there.
func trimmed(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func (p *part) append(dst []byte, v *Vars) []byte {
	switch p.kind {
	case varText:
		return append(dst, p.text...)
	case varRemote:
		return appendAddress(dst, v.Remote)
	case varRemoteIP:
		return appendIP(dst, v.Remote)
	case varRemotePort:
		return appendPort(dst, v.Remote)
	case varLocal:
		return appendAddress(dst, v.Local)
	case varLocalIP:
		return appendIP(dst, v.Local)
	case varLocalPort:
		return appendPort(dst, v.Local)
	case varProtocol:
		return append(dst, v.Protocol...)
	case varStart:
		if v.Start.IsZero() {
			return dst
		}
		return v.Start.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	case varRoute:
		return append(dst, v.Route...)
	case varCluster:
		return append(dst, v.Cluster...)
	case varUpstream:
		return append(dst, v.Upstream...)
	case varStatus:
		if v.Status == 0 {
			return dst
		}
		return strconv.AppendInt(dst, int64(v.Status), 10)
	default:
		return p.appendHeader(dst, v)
	}
}

func (p *part) appendHeader(dst []byte, v *Vars) []byte {
	value, ok := p.header(p.text, v)
	if !ok && p.fallback != "" {
		value, _ = p.header(p.fallback, v)
	}
	if p.limit > 0 && len(value) > p.limit {
		value = value[:p.limit]
	}
	return append(dst, value...)
}

func (p *part) header(name string, v *Vars) (value []byte, ok bool) {
	if p.kind == varResp {
		return http1.Find(v.Answer, name)
	}
	r := v.Request
	if r == nil {
		return nil, false
	}
	switch name {
	case ":method":
		return r.Method, true
	case ":path":
		return r.Path, true
	case ":authority", "host":
		return r.Host, len(r.Host) > 0
	}
	return http1.Find(r.Headers, name)
}

func appendAddress(dst []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return dst
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).AppendTo(dst)
}

func appendIP(dst []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return dst
	}
	return a.Addr().Unmap().AppendTo(dst)
}

func appendPort(dst []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return dst
	}
	return strconv.AppendUint(dst, uint64(a.Port()), 10)
}
