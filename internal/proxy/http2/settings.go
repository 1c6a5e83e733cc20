package http2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// settingsFrame: RFC 9113 section 6.5.
func (in *reader) settingsFrame(h header, p []byte) error {
	c := in.c
	switch {
	case h.id != 0:
		return connError(http2.ErrCodeProtocol, "SETTINGS on a stream")
	case h.f.Has(http2.FlagSettingsAck) && len(p) > 0:
		return connError(http2.ErrCodeFrameSize, "an acknowledgement of SETTINGS with settings")
	case len(p)%6 != 0:
		return connError(http2.ErrCodeFrameSize, "SETTINGS of a length that is no multiple of 6")
	case in.settings.over(c.cfg.MaxSettings, c.cfg.FloodInterval, in.now),
		len(p) > 6*maxSettings:
		return connError(http2.ErrCodeEnhanceYourCalm, "too many SETTINGS")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.f.Has(http2.FlagSettingsAck) {
		in.acknowledged()
		return nil
	}
	for ; len(p) > 0; p = p[6:] {
		s := http2.Setting{ID: http2.SettingID(binary.BigEndian.Uint16(p)), Val: binary.BigEndian.Uint32(p[2:])}
		if err := in.setting(s); err != nil {
			return err
		}
	}
	if in.started = true; !c.peer.settled {
		c.peer.settled = true
		c.roomNews = c.onRoom != nil
	}
	c.hadRoom = c.room() > 0
	c.out.frame(http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
	return in.countControl()
}

// maxSettings bounds one frame: an honest one has a handful.
const maxSettings = 64

// acknowledged: the peer holds itself to our SETTINGS from now on. Until then
// it may have used the window that all begin with. mu is held.
func (in *reader) acknowledged() {
	c := in.c
	if c.acked {
		return
	}
	c.acked = true
	if c.cfg.StreamWindow < defaultWindow {
		for _, s := range c.streams {
			s.recvWin -= defaultWindow - int64(c.cfg.StreamWindow)
		}
	}
}

// setting takes one setting. mu is held.
func (in *reader) setting(s http2.Setting) error {
	c := in.c
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.enc.setMax(s.Val)
	case http2.SettingEnablePush:
		if s.Val > 1 || s.Val == 1 && !c.server {
			return connError(http2.ErrCodeProtocol, "SETTINGS_ENABLE_PUSH")
		}
	case http2.SettingMaxConcurrentStreams:
		if s.Val > c.peer.maxStreams {
			c.roomNews = c.onRoom != nil
		}
		c.peer.maxStreams = s.Val
	case http2.SettingInitialWindowSize:
		return in.initialWindow(s.Val)
	case http2.SettingMaxFrameSize:
		if s.Val < minFrameSize || s.Val > maxFrameSize {
			return connError(http2.ErrCodeProtocol, "SETTINGS_MAX_FRAME_SIZE")
		}
		c.peer.maxFrame = s.Val
	case http2.SettingEnableConnectProtocol:
		if s.Val > 1 || s.Val == 0 && c.peer.extendedConnect {
			return connError(http2.ErrCodeProtocol, "SETTINGS_ENABLE_CONNECT_PROTOCOL") // RFC 8441 section 3
		}
		c.peer.extendedConnect = s.Val == 1
	}
	return nil // others are ignored
}

// initialWindow changes the windows of all open streams by what the setting
// changes, which may make them negative (RFC 9113 section 6.9.2). mu is held.
func (in *reader) initialWindow(v uint32) error {
	if v > maxWindow {
		return connError(http2.ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
	}
	c := in.c
	delta := int64(v) - c.peer.window
	c.peer.window = int64(v)
	if delta == 0 {
		return nil
	}
	for _, s := range c.streams {
		if s.sendWin += delta; s.sendWin > maxWindow {
			return connError(http2.ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE brings a window above 2^31-1")
		}
		c.makeReady(s)
	}
	return nil
}
