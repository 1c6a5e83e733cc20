package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestAppPassesFlagsToTheProgram(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"app"}, ExitOK, "slow_cooker"},
		{[]string{"app", "--help"}, ExitOK, "bb"},
		{[]string{"app", "bb", "--help"}, ExitOK, "point-to-point-channel"},
		{[]string{"app", "bb", "terminus", "--percent-failure=200", "--h1-server-port=1"}, ExitUsage, "--percent-failure 200"},
		{[]string{"app", "slow_cooker", "--qps", "0", "http://bb"}, ExitUsage, "-qps 0"},
		{[]string{"app", "nginx"}, ExitUsage, "bb, echo, slow_cooker"},
	} {
		var out bytes.Buffer
		got := Run(t.Context(), c.args, Streams{In: strings.NewReader(""), Out: &out, Err: &out})
		if got != c.status || !strings.Contains(out.String(), c.want) {
			t.Errorf("recloser %s: status %d, want %d and %q in\n%s", strings.Join(c.args, " "), got, c.status, c.want, out.String())
		}
	}
}
