package emit

import "testing"

func TestChooseVersion(t *testing.T) {
	tests := []struct{ linked, build, want string }{
		{"1.2.3", "v0.1.0", "1.2.3"},
		{"v1.2.3", "", "1.2.3"},
		{"", "v0.0.0-20260102030405-0123456789ab+dirty", "0.0.0-20260102030405-0123456789ab+dirty"},
		{"", "(devel)", "0.0.0-devel"},
		{"", "", "0.0.0-devel"},
	}
	for _, tt := range tests {
		if got := chooseVersion(tt.linked, tt.build); got != tt.want {
			t.Errorf("linked %q, built %q gives %q, want %q", tt.linked, tt.build, got, tt.want)
		}
	}
	if Version() == "" {
		t.Error("no version")
	}
}
