package telemetry

import (
	"strconv"
	"time"
	"unicode/utf8"
)

const startTimeFormat = "2006-01-02T15:04:05.000Z"

// text is what both []byte fields of the request and our own strings are.
type text interface{ ~string | ~[]byte }

// appendTextLine writes Istio's default format. Unlike Envoy, a quote, a
// backslash and control characters of a value are escaped: a caller cannot
// forge a field or a line.
func appendTextLine(b []byte, e *AccessEntry) []byte {
	b = append(b, '[')
	b = e.Start.UTC().AppendFormat(b, startTimeFormat)
	b = append(b, `] "`...)
	b = appendField(b, e.Method)
	b = append(b, ' ')
	b = appendField(b, e.Path)
	b = append(b, ' ')
	b = appendField(b, e.Protocol)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, ' ')
	b = append(b, e.flags()...)
	b = append(b, ' ')
	b = appendField(b, e.details())
	b = append(b, ` - "`...) // connection termination details
	b = appendField(b, e.UpstreamFailure)
	b = append(b, `" `...)
	for _, n := range [...]int64{e.BytesReceived, e.BytesSent, e.Duration.Milliseconds()} {
		b = strconv.AppendInt(b, n, 10)
		b = append(b, ' ')
	}
	if e.UpstreamTime < 0 {
		b = append(b, '-')
	} else {
		b = strconv.AppendInt(b, e.UpstreamTime.Milliseconds(), 10)
	}
	for _, v := range [...][]byte{e.ForwardedFor, e.UserAgent, e.RequestID, e.Authority} {
		b = append(b, ` "`...)
		b = appendField(b, v)
		b = append(b, '"')
	}
	b = append(b, ` "`...)
	b = appendField(b, e.UpstreamHost)
	b = append(b, '"')
	for _, v := range [...]string{e.UpstreamCluster, e.UpstreamLocal, e.DownstreamLocal, e.DownstreamRemote, e.ServerName, e.RouteName} {
		b = append(b, ' ')
		b = appendField(b, v)
	}
	return append(b, '\n')
}

func (e *AccessEntry) details() string {
	switch {
	case e.Details != "":
		return e.Details
	case e.Protocol == "" && e.Reason == ViaUpstream:
		return "" // Envoy has details of HTTP only
	}
	return e.Reason.Details()
}

func appendField[T text](b []byte, v T) []byte {
	if len(v) == 0 {
		return append(b, '-')
	}
	return appendEscaped(b, v, false)
}

// appendJSONLine writes Istio's JSON format: absent values are null.
func appendJSONLine(b []byte, e *AccessEntry) []byte {
	b = append(b, `{"start_time":"`...)
	b = e.Start.UTC().AppendFormat(b, startTimeFormat)
	b = append(b, '"')
	b = appendPair(b, "route_name", e.RouteName)
	b = appendPair(b, "method", e.Method)
	b = appendPair(b, "path", e.Path)
	b = appendPair(b, "protocol", e.Protocol)
	b = appendNumber(b, "response_code", int64(e.Status))
	if e.GRPCStatus >= 0 { // Istio's format has no such field; nor has HTTP
		b = appendNumber(b, "grpc_status", int64(e.GRPCStatus))
	}
	b = appendPair(b, "response_flags", e.flags())
	b = appendPair(b, "response_code_details", e.details())
	b = appendPair(b, "connection_termination_details", "")
	b = appendNumber(b, "bytes_received", e.BytesReceived)
	b = appendNumber(b, "bytes_sent", e.BytesSent)
	b = appendNumber(b, "duration", e.Duration.Milliseconds())
	if e.UpstreamTime < 0 {
		b = appendPair(b, "upstream_service_time", "")
	} else {
		b = append(b, `,"upstream_service_time":"`...)
		b = strconv.AppendInt(b, int64(e.UpstreamTime/time.Millisecond), 10)
		b = append(b, '"')
	}
	b = appendPair(b, "x_forwarded_for", e.ForwardedFor)
	b = appendPair(b, "user_agent", e.UserAgent)
	b = appendPair(b, "request_id", e.RequestID)
	b = appendPair(b, "authority", e.Authority)
	b = appendPair(b, "upstream_host", e.UpstreamHost)
	b = appendPair(b, "upstream_cluster", e.UpstreamCluster)
	b = appendPair(b, "upstream_local_address", e.UpstreamLocal)
	b = appendPair(b, "downstream_local_address", e.DownstreamLocal)
	b = appendPair(b, "downstream_remote_address", e.DownstreamRemote)
	b = appendPair(b, "requested_server_name", e.ServerName)
	b = appendPair(b, "upstream_transport_failure_reason", e.UpstreamFailure)
	return append(b, '}', '\n')
}

func appendPair[T text](b []byte, key string, v T) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	if len(v) == 0 {
		return append(b, `":null`...)
	}
	b = append(b, `":"`...)
	b = appendEscaped(b, v, true)
	return append(b, '"')
}

func appendNumber(b []byte, key string, n int64) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, '"', ':')
	return strconv.AppendInt(b, n, 10)
}

const hexDigits = "0123456789abcdef"

// appendEscaped escapes as JSON strings want it (RFC 8259 section 7). In text
// lines a byte that is no UTF-8 becomes \xHH; in JSON it becomes U+FFFD.
func appendEscaped[T text](b []byte, v T, json bool) []byte {
	for i := 0; i < len(v); {
		c := v[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			size := runeSize(v, i)
			switch {
			case size > 0:
				b = append(b, v[i:i+size]...)
				i += size
				continue
			case json:
				b = append(b, "\uFFFD"...)
			default:
				b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			}
		}
		i++
	}
	return b
}

// runeSize gives the length of the valid rune at v[i], 0 if there is none.
func runeSize[T text](v T, i int) int {
	var head [utf8.UTFMax]byte
	n := copy(head[:], v[i:min(len(v), i+utf8.UTFMax)])
	r, size := utf8.DecodeRune(head[:n])
	if r == utf8.RuneError && size <= 1 {
		return 0
	}
	return size
}
