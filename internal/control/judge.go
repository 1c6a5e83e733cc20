package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/reclosermesh/recloser/internal/control/lint"
)

// judgeEvery is the least time between two looks at what is wrong. A look costs
// as much as there are rules, and proxies must not wait for it.
const judgeEvery = time.Second

// judge logs what is wrong with each new state, soon after it is there; of
// several in a short time it looks at the last.
func (c *Control) judge(ctx context.Context) error {
	var told []lint.Finding
	var last *state
	look := func() {
		if s := c.state.Load(); s != last {
			now := s.findings()
			c.logNew(told, now)
			told, last = now, s
		}
	}
	defer look()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.judged:
			look()
		}
		pause := time.NewTimer(judgeEvery)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
	}
}

// logNew logs the findings that were not there before.
func (c *Control) logNew(old, now []lint.Finding) {
	had := make(map[lint.Finding]bool, len(old))
	for _, f := range old {
		had[f] = true
	}
	for _, f := range now {
		if had[f] {
			continue
		}
		level := slog.LevelWarn
		switch f.Severity {
		case lint.Error:
			level = slog.LevelError
		case lint.Info:
			level = slog.LevelDebug
		}
		c.log.LogAttrs(context.Background(), level, "configuration", attrsOf(&f)...)
	}
}

// attrsOf are the fields of a finding that say something.
func attrsOf(f *lint.Finding) []slog.Attr {
	var out []slog.Attr
	for _, a := range []slog.Attr{
		slog.String("code", f.Code), slog.String("object", f.Object), slog.String("field", f.Field), slog.String("value", f.Value),
		slog.String("allowed", f.Allowed), slog.String("reason", f.Reason), slog.String("mend", f.Mend), slog.String("where", f.Where()),
	} {
		if a.Value.String() != "" {
			out = append(out, a)
		}
	}
	return out
}
