package control_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/file"
)

// A finding is logged with what it says, and without the fields of which it
// says nothing.
func TestFindingsAreLoggedWithoutEmptyFields(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var out bytes.Buffer // one goroutine writes, and has ended before it is read
	c := control.New(control.Config{
		Sources:     []source.Source{file.New(file.Config{Paths: []string{writeManifest(t, "apiVersion: v1\nkind: Service\nmetadata: {name: bb}\nspec: {ports: []}\n")}})},
		XDSListener: l,
		Logger:      slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	must(t, c.Ready(t.Context()))
	cancel()
	must(t, <-ended)
	if got := out.String(); !strings.Contains(got, `code=no-ports object="service/bb -n default" field=spec.ports reason="a Service without ports cannot be called" where=`) ||
		strings.Contains(got, `=""`) {
		t.Errorf("logged %s", got)
	}
}

func writeManifest(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mesh.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
