package observe

import (
	"embed"
	"net/http"
)

// pageFiles is the plain live page: services, deployments, breakers and events.
//
//go:embed page
var pageFiles embed.FS

// contentPolicy lets the page load what we serve and nothing else, so that a
// name of a workload that contains markup can do nothing.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// mountPage serves the page at / and its files below /page/.
func mountPage(mux *http.ServeMux) {
	serve := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", contentPolicy)
			http.ServeFileFS(w, r, pageFiles, name)
		}
	}
	// Not "index.html": the file server would redirect from that name.
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		b, err := pageFiles.ReadFile("page/index.html")
		if err != nil {
			refuse(w, http.StatusInternalServerError, err.Error())
			return
		}
		w.Header().Set("Content-Security-Policy", contentPolicy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(b) // the reader is gone: nobody is left to tell
	})
	mux.HandleFunc("GET /page/page.js", serve("page/page.js"))
	mux.HandleFunc("GET /page/style.css", serve("page/style.css"))
}
