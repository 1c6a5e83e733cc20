package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/client"
)

func newEventsCommand() *cobra.Command {
	var (
		f               breakers.Filter
		follow          bool
		output, address string
	)
	cmd := &cobra.Command{
		Use:   "events [svc/NAME]",
		Short: "Show when breakers opened and closed, and why",
		Long: `Shows the events of breakers that the control plane keeps: when, whose breaker,
which endpoint, from which state to which, and the cause in words. With -o wide
each opening is followed by the last requests before it.

With -f it goes on with what comes, until it is interrupted or the control
plane ends.`,
		Example: `  recloser events -n circuit-breaking-demo -o wide
  recloser events -f -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if f.Service, err = serviceArg(args); err != nil {
				return err
			}
			if output != "table" && output != "wide" && output != "json" {
				return usagef("--output %q: allowed are table, wide and json", output)
			}
			c, err := client.New(address)
			if err != nil {
				return usagef("%w", err)
			}
			defer c.Close()
			err = c.Events(cmd.Context(), f, follow, eventPrinter(cmd, f, output, follow))
			if follow && cmd.Context().Err() != nil {
				return nil // interrupted: how following is meant to end
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.Namespace, "namespace", "n", "", "only services of this namespace (default: all)")
	fl.BoolVarP(&follow, "follow", "f", false, "stay, and show what comes")
	fl.StringVarP(&output, "output", "o", "table", "table, wide or json (one document per line)")
	addControlFlag(cmd, &address)
	return cmd
}

// eventPrinter writes the lines of a stream in a form.
func eventPrinter(cmd *cobra.Command, f breakers.Filter, output string, follow bool) func(breakers.Line) error {
	out := cmd.OutOrStdout()
	if output == "json" {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return func(l breakers.Line) error {
			switch {
			case l.Event != nil:
				return enc.Encode(l.Event)
			case l.Lost > 0:
				_, err := fmt.Fprintf(cmd.ErrOrStderr(), "recloser: %d events were lost here\n", l.Lost)
				return err
			}
			return nil
		}
	}
	w := &breakers.EventWriter{
		W: out, Wide: output == "wide", Location: time.Local,
		Style: breakers.Style{Namespace: f.Namespace, Color: colored(out)},
	}
	p := &eventTable{cmd: cmd, w: w, follow: follow}
	return p.line
}

// eventTable writes a stream as a table. What is not followed is kept until it
// is whole, so that all its columns align.
type eventTable struct {
	cmd    *cobra.Command
	w      *breakers.EventWriter
	follow bool
	headed bool
	kept   []breakers.Line
}

func (p *eventTable) line(l breakers.Line) error {
	if l.End == "" && !p.follow {
		p.kept = append(p.kept, l)
		return nil
	}
	for _, k := range p.kept {
		if k.Event != nil {
			p.w.Fit(*k.Event)
		}
	}
	for _, k := range append(p.kept, l) {
		if err := p.write(k); err != nil {
			return err
		}
	}
	return nil
}

func (p *eventTable) write(l breakers.Line) error {
	if !p.headed && l.End == "" {
		p.headed = true
		if l.Event != nil {
			p.w.Fit(*l.Event)
		}
		if err := p.w.Header(); err != nil {
			return err
		}
	}
	switch {
	case l.Event != nil:
		return p.w.Event(*l.Event)
	case l.Lost > 0:
		return p.w.Lost(l.Lost)
	case p.follow:
		_, err := fmt.Fprintln(p.cmd.ErrOrStderr(), "recloser:", l.End)
		return err
	case !p.headed:
		_, err := fmt.Fprintln(p.cmd.ErrOrStderr(), "No events: no breaker has moved.")
		return err
	}
	return nil
}
