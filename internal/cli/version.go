package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionInfo is what `recloser version` tells. Everything comes from the
// build information that the Go linker writes, so there is no version string
// to keep by hand and a binary cannot claim another's.
type versionInfo struct {
	Version  string `json:"version"`            // the module's version, or "devel" for a build from a working tree
	Revision string `json:"revision,omitempty"` // VCS revision, where the build knew it
	Time     string `json:"time,omitempty"`     // time of that revision, RFC 3339
	Modified bool   `json:"modified,omitempty"` // the tree had changes beside that revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bi, _ := debug.ReadBuildInfo()
			v := readVersion(bi)
			switch output {
			case "text":
				fmt.Fprintln(cmd.OutOrStdout(), v)
				return nil
			case "json":
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(v)
			default:
				return usagef("--output %q: allowed are text and json", output)
			}
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// readVersion picks the facts out of bi, which is nil in a binary that was
// built without module support.
func readVersion(bi *debug.BuildInfo) versionInfo {
	v := versionInfo{
		Version:  "devel",
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if bi == nil {
		return v
	}
	if m := bi.Main.Version; m != "" && m != "(devel)" {
		v.Version = m
	}
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (v versionInfo) String() string {
	s := "recloser " + v.Version
	if v.Revision != "" {
		s += " " + v.Revision[:min(12, len(v.Revision))]
		if v.Modified {
			s += "+changes"
		}
	}
	return fmt.Sprintf("%s (%s, %s)", s, v.Go, v.Platform)
}
