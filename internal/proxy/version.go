package proxy

import (
	"runtime"
	"runtime/debug"
)

// Version says which build this is, from what the Go linker wrote into it.
func Version() string {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			version = v
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && version == "devel" {
				version += "-" + s.Value[:min(len(s.Value), 12)]
			}
		}
	}
	return version + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
