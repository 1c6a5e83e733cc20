package scrape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// accept is what we ask for: the plain text format. Proxies have no exemplars
// and no native histograms that the other formats would add.
const accept = "text/plain;version=0.0.4;q=1,*/*;q=0.1"

// sample is one line of a target's metrics.
type sample struct {
	key     []byte // the metric and its labels as written; a slice of the body
	value   float64
	counter bool          // of a counter or of a histogram: it began at zero
	labels  labels.Labels // only for a key that the target did not have before
}

// fetch gets and parses a target's metrics. The samples are valid until the
// target's next fetch.
func (s *Scraper) fetch(ctx context.Context, t *target) ([]sample, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.Address+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("target address %q: %w", t.Address, err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "recloser")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", req.URL, resp.Status)
	}
	t.body.Reset()
	n, err := t.body.ReadFrom(io.LimitReader(resp.Body, s.cfg.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", req.URL, err)
	}
	if n > s.cfg.MaxBytes {
		return nil, fmt.Errorf("%s: the answer is longer than the limit of %d bytes", req.URL, s.cfg.MaxBytes)
	}
	samples, err := t.parse(t.body.Bytes(), resp.Header.Get("Content-Type"), s.cfg.MaxSeries)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.URL, err)
	}
	return samples, nil
}

// parse reads an exposition into t.samples. Timestamps in it are passed over:
// a round has one timestamp.
func (t *target) parse(body []byte, contentType string, limit int) ([]sample, error) {
	p, err := textparse.New(body, contentType, t.symbols, textparse.ParserOptions{FallbackContentType: "text/plain", OpenMetricsSkipSTSeries: true})
	if p == nil {
		return nil, err
	}
	t.samples = t.samples[:0]
	var family []byte
	counter := false
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return t.samples, nil
		}
		if err != nil {
			return nil, fmt.Errorf("parse metrics: %w", err)
		}
		switch entry {
		case textparse.EntryType:
			name, kind := p.Type()
			family = append(family[:0], name...)
			counter = kind == model.MetricTypeCounter || kind == model.MetricTypeHistogram
		case textparse.EntrySeries:
			if len(t.samples) == limit {
				return nil, fmt.Errorf("more series than the limit of %d", limit)
			}
			key, _, v := p.Series()
			sm := sample{key: key, value: v, counter: counter && bytes.HasPrefix(key, family)}
			if _, known := t.series[string(key)]; !known {
				var own labels.Labels // here, so that known series cost no allocation
				p.Labels(&own)
				sm.labels = own
			}
			t.samples = append(t.samples, sm)
		case textparse.EntryHelp, textparse.EntryUnit, textparse.EntryComment, textparse.EntryHistogram, textparse.EntryInvalid:
		}
	}
}
