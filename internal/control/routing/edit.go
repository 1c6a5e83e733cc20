package routing

import (
	"regexp"
	"slices"
	"strings"
)

// variables are what Envoy puts in place of %NAME% in a header's value, as far
// as proxies of ours know them; those of answers in answers only.
func variables(answer bool) []string {
	out := []string{
		"DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_REMOTE_PORT",
		"DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
		"DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT",
		"PROTOCOL", "START_TIME", "ROUTE_NAME", "UPSTREAM_CLUSTER",
	}
	if answer {
		out = append(out, "RESPONSE_CODE", "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS")
	}
	return out
}

// headerVariable is the part of %REQ(NAME?OTHER):LENGTH% between the percent
// signs.
//
//nolint:gochecknoglobals // compiled once
var headerVariable = regexp.MustCompile(`^(REQ|RESP)\(:?[A-Za-z0-9_-]+(\?:?[A-Za-z0-9_-]+)?\)(:[0-9]{1,9})?$`)

// reserved are the headers that carry a message, which are not for anybody to
// change on its way (RFC 9110 section 7.6.1, RFC 9112 section 6).
func reserved() []string {
	return []string{
		"host", "content-length", "transfer-encoding", "trailer", "expect", "connection", "keep-alive",
		"proxy-connection", "te", "upgrade", "http2-settings",
	}
}

// Refused says why no proxy can make this edit, of a request or of an answer,
// or nothing: then there must be no such edit in a rule, for a proxy would
// refuse the whole configuration.
func (e *HeaderEdit) Refused(answer bool) string {
	name := strings.ToLower(e.Name)
	switch {
	case strings.HasPrefix(name, ":") || slices.Contains(reserved(), name):
		return "this header carries the message, and cannot be changed on its way"
	case e.Op == Remove || !e.Format:
		return ""
	}
	rest := e.Value
	for {
		_, after, ok := strings.Cut(rest, "%")
		if !ok {
			return ""
		}
		variable, after, ok := strings.Cut(after, "%")
		switch {
		case !ok:
			return "a percent sign begins a variable; a single one is written %%"
		case variable == "" || slices.Contains(variables(answer), variable):
		case headerVariable.MatchString(variable) && (answer || strings.HasPrefix(variable, "REQ")):
		default:
			return "the variable %" + variable + "% is not known here"
		}
		rest = after
	}
}
