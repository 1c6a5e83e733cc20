package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/client"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

// refresh is the time between two looks of `breakers -w`.
const refresh = 500 * time.Millisecond

func newBreakersCommand() *cobra.Command {
	var (
		f               breakers.Filter
		watch, all      bool
		output, address string
	)
	cmd := &cobra.Command{
		Use:   "breakers [svc/NAME]",
		Short: "Show which endpoints are kept out, by whom, why, and when they are tried again",
		Long: `Shows the breaker of each endpoint as each of its callers sees it: the state,
the cause of the last opening in words, failures in a row, the time until the
next probe, and the share of the service's endpoints that the caller keeps out.

With -w it stays and keeps the table live until it is interrupted.`,
		Example: `  recloser breakers
  recloser breakers -n circuit-breaking-demo svc/bb -w
  recloser breakers -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if f.Service, err = serviceArg(args); err != nil {
				return err
			}
			if output != "table" && output != "json" {
				return usagef("--output %q: allowed are table and json", output)
			}
			c, err := client.New(address)
			if err != nil {
				return usagef("%w", err)
			}
			defer c.Close()
			v := breakersView{out: cmd.OutOrStdout(), json: output == "json", style: breakers.Style{Namespace: f.Namespace, All: all, Color: colored(cmd.OutOrStdout())}}
			if watch {
				return v.watch(cmd.Context(), func(ctx context.Context) (*breakers.List, error) { return c.Breakers(ctx, f) })
			}
			l, err := c.Breakers(cmd.Context(), f)
			if err != nil {
				return err
			}
			if v.json {
				return writeJSON(v.out, l)
			}
			return l.WriteTable(v.out, v.style)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.Namespace, "namespace", "n", "", "only services of this namespace (default: all)")
	fl.BoolVar(&all, "all", false, "also endpoints of services without a breaker")
	fl.BoolVarP(&watch, "watch", "w", false, "stay, and show changes")
	fl.StringVarP(&output, "output", "o", "table", "table or json (with -w: one document per change)")
	addControlFlag(cmd, &address)
	return cmd
}

// serviceArg reads the optional svc/NAME.
func serviceArg(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	ref, err := stat.ParseRef(args[0])
	if err != nil || ref.Kind != stat.Service || ref.Name == "" {
		return "", usagef("%q: name a service as svc/NAME", args[0])
	}
	return ref.Name, nil
}

// breakersView shows lists as they come.
type breakersView struct {
	out   io.Writer
	style breakers.Style
	json  bool
}

// watch shows the breakers until ctx ends, which is how it is meant to end. On
// a terminal it redraws; elsewhere it writes the table when it changed.
func (v *breakersView) watch(ctx context.Context, list func(context.Context) (*breakers.List, error)) error {
	tty := terminal(v.out)
	scr := &screen{w: v.out}
	if tty != nil && !v.json {
		defer scr.end()
	}
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	var last string
	for first := true; ; first = false {
		l, err := list(ctx)
		var away *client.UnreachableError
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (first || tty == nil || v.json || !errors.As(err, &away)):
			return err
		case tty != nil && !v.json:
			err = v.redraw(scr, tty, l, err)
		default:
			last, err = v.print(l, last)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// redraw shows a list, or that the control plane is away, at the same place.
func (v *breakersView) redraw(scr *screen, tty interface{ Fd() uintptr }, l *breakers.List, away error) error {
	style := v.style
	// The size is asked each time: windows are resized.
	if w, h, err := term.GetSize(int(tty.Fd())); err == nil {
		// The last column stays free: after it, terminals differ in what "the
		// rest of the line" is.
		style.Width, scr.height = max(1, w-1), h
	}
	if away != nil {
		text := []rune(away.Error())
		if style.Width > 0 && len(text) > style.Width {
			text = text[:style.Width]
		}
		return scr.draw(string(text))
	}
	var b strings.Builder
	if err := l.WriteTable(&b, style); err != nil {
		return err
	}
	return scr.draw(b.String())
}

// print writes a list when it is another than the last one, the clock aside.
func (v *breakersView) print(l *breakers.List, last string) (string, error) {
	now, err := json.Marshal(l.Breakers)
	if err != nil || string(now) == last {
		return last, err
	}
	if v.json {
		return string(now), json.NewEncoder(v.out).Encode(l)
	}
	if last != "" {
		fmt.Fprintln(v.out)
	}
	fmt.Fprintln(v.out, l.At.Format("15:04:05.000"))
	return string(now), l.WriteTable(v.out, v.style)
}
