# SPDX-License-Identifier: BSD-2-Clause
#
# make                    everything, into build/
# make check              the tests (scripts/check also installs what they need)
# make install            DESTDIR=, PREFIX= (default /usr/local), the directories below, LUA_PROGRAM=
# make uninstall          removes what make install has installed, with the same variables
# make dist               a tarball of the last commit, into build/: the same bytes every time
# make bench              what it costs, into build/bench and tests/bench/README.md; QUICK=1: in a minute
# make deb                Debian packages, into build/deb
# make help               these lines
# make V=1                show the commands
# make SANITIZE=1         with AddressSanitizer and UBSan, into build/sanitize/
# make BUILD=DIR          into another directory
# make WERROR=1           treat warnings as errors, as scripts/check does
# make FAULTS=N           for tests: every N-th change of the table of counts fails
# make LOSES=N            for tests: every N-th end of a session is not counted
# make RACES=N            for tests: every N-th record of a socket is made by another program
# make BASELINE=2         for make bench: without the protocol; BASELINE=1: nor is a node ever deleted
#
# Needs clang, bpftool, pkg-config and the -dev packages of libbpf, libhiredis, libssl, libjansson,
# libmicrohttpd, libmnl, ncurses and Lua 5.4: scripts/deps installs them on Debian.
#
# The Lua module is built for Lua 5.4, and for each of Lua 5.1, Lua 5.3 and LuaJIT that
# pkg-config finds; LUAS='lua5.4 lua5.1' says which. LuaJIT loads what is built for 5.1.

VERSION := 0.1.0
# The library's ABI: the number in its soname and in libconncount.map.
ABI := 0

# Programs find these by the way from one to the other, so PREFIX alone says where they are: bin,
# lib/conncount, share/conncount. SBINDIR is beside them.
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
OPENSMTPDDIR ?= $(PREFIX)/libexec/opensmtpd
SYSTEMDUNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
MANDIR ?= $(PREFIX)/share/man
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/site-functions
DOCDIR ?= $(PREFIX)/share/doc/conncount

CLANG ?= clang
BPFTOOL ?= bpftool
PKG_CONFIG ?= pkg-config
INSTALL ?= install

# What pkg-config calls a Lua: lua5.4 on Debian, elsewhere lua-5.4 or lua54, or lua if it is that
# version. $(call lua_module,VERSION)
lua_module = $(shell for name in lua$(1) lua-$(1) lua$(subst .,,$(1)); do \
	$(PKG_CONFIG) --exists $$name && echo $$name && exit; done; \
	$(PKG_CONFIG) --modversion lua 2>/dev/null | sed -n 's/^$(1)\..*/lua/p')
MODULE_lua5.1 := $(call lua_module,5.1)
MODULE_lua5.3 := $(call lua_module,5.3)
MODULE_lua5.4 := $(or $(call lua_module,5.4),lua5.4)
MODULE_luajit := $(shell $(PKG_CONFIG) --exists luajit && echo luajit)
LUAS ?= lua5.4 $(foreach lua,lua5.1 lua5.3 luajit,$(if $(MODULE_$(lua)),$(lua)))
# Below these, each version has a directory of its own. Under /usr, Debian's LuaJIT looks in
# the architecture's directory only; its package of Lua knows which that is.
ifeq ($(PREFIX),/usr)
LUA_CDIR ?= $(or $(patsubst %/5.4,%,\
	$(shell $(PKG_CONFIG) --variable=INSTALL_CMOD $(MODULE_lua5.4))),$(LIBDIR)/lua)
else
LUA_CDIR ?= $(LIBDIR)/lua
endif
LUA_DIR ?= $(PREFIX)/share/lua
# What runs the programs in Lua. It has as many names as pkg-config's module.
LUA_PROGRAM ?= $(or $(shell for name in lua5.4 lua-5.4 lua54 lua; do program=$$(command -v $$name) && \
	$$program -v 2>&1 | grep -q '^Lua 5\.4\.' && echo $$program && exit; done),/usr/bin/lua5.4)

# bpftool and ldconfig are in sbin, which an ordinary user's PATH lacks on Debian.
export PATH := $(PATH):/usr/sbin:/sbin

ifdef SANITIZE
BUILD ?= build/sanitize
CFLAGS ?= -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
else
BUILD ?= build
CFLAGS ?= -O2 -g
endif
# One name for each directory: the dependencies in it name its files.
override BUILD := $(patsubst $(CURDIR)/%,%,$(BUILD))

WARNINGS := -Wall -Wextra $(WERROR:%=-Werror) -Wshadow -Wstrict-prototypes -Wmissing-prototypes
CPPFLAGS += -D_GNU_SOURCE -DCONNCOUNT_VERSION='"$(VERSION)"' -Ibpf -Iuser/lib -Iuser/common \
	-Iuser/load -Iuser/metrics -Iuser/top -Iuser/json -Iuser/exporter -Iuser/cluster -Iuser/cmd -I$(BUILD)/bpf -I$(BUILD)/page
# Nobody replaces one function of the library: so they can be inlined in each other.
ALL_CFLAGS := -std=gnu11 $(WARNINGS) -fPIC -fno-semantic-interposition -MMD -MP $(CFLAGS)
ALL_LDFLAGS := $(filter -fsanitize=% -g,$(CFLAGS)) $(LDFLAGS)

# The libraries, as pkg-config calls them.
LIB_NEEDS := libbpf
CMD_NEEDS := libbpf jansson libmnl ncursesw
CLUSTER_NEEDS := libbpf hiredis libssl libcrypto
EXPORTER_NEEDS := libbpf jansson libmicrohttpd libmnl

# Without this, the compiler would only name a header.
ifneq ($(filter all tests tools check bench,$(or $(MAKECMDGOALS),all)),)
MISSING := $(shell PATH='$(PATH)'; for name in $(CLANG) $(BPFTOOL) $(firstword $(PKG_CONFIG)); do \
	command -v $$name >/dev/null || echo $$name; done; \
	for name in $(sort $(LIB_NEEDS) $(CMD_NEEDS) $(CLUSTER_NEEDS) $(EXPORTER_NEEDS) $(MODULE_lua5.4)); do \
	$(PKG_CONFIG) --exists $$name 2>/dev/null || echo $$name.pc; done)
$(if $(MISSING),$(error not found: $(MISSING); install the packages that have these programs, and these files \
	of pkg-config (-dev or -devel packages); on Debian: sudo scripts/deps build))
endif
# musl has fts(3) in a library of its own.
FTS_LIBS := $(shell $(PKG_CONFIG) --libs musl-fts 2>/dev/null)
LIB_LIBS := $(shell $(PKG_CONFIG) --libs $(LIB_NEEDS)) -pthread
CMD_LIBS := $(shell $(PKG_CONFIG) --libs $(CMD_NEEDS)) $(FTS_LIBS) -pthread
CLUSTER_LIBS := $(shell $(PKG_CONFIG) --libs $(CLUSTER_NEEDS)) -pthread
EXPORTER_LIBS := $(shell $(PKG_CONFIG) --libs $(EXPORTER_NEEDS)) $(FTS_LIBS) -lm -pthread

# The debug information, which the kernel gets, has file names. Without the directory that it was
# built in, the object is the same everywhere.
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra $(WERROR:%=-Werror) -Ivmlinux -Ibpf -MMD -MP \
	-ffile-prefix-map=$(CURDIR)=.

ifdef FAULTS
BPF_CFLAGS += -DCONNCOUNT_FAULTS=$(FAULTS)
endif
ifdef LOSES
BPF_CFLAGS += -DCONNCOUNT_LOSES=$(LOSES)
endif
ifdef RACES
BPF_CFLAGS += -DCONNCOUNT_RACES=$(RACES)
endif
ifdef BASELINE
BPF_CFLAGS += -DCONNCOUNT_BASELINE=$(BASELINE)
endif

LIB_OBJS := $(patsubst user/%.c,$(BUILD)/user/%.o,$(wildcard user/lib/*.c))
CMD_OBJS := $(patsubst user/%.c,$(BUILD)/user/%.o,\
	$(filter-out user/lib/% user/exporter/% user/cluster/%,$(wildcard user/*/*.c)))
EXPORTER_OBJS := $(patsubst user/%.c,$(BUILD)/user/%.o,\
	$(wildcard user/common/*.c user/metrics/*.c user/json/*.c user/exporter/*.c))
PAGE := $(patsubst user/page/%,$(BUILD)/page/%.inc,$(wildcard user/page/*))
CLUSTER_OBJS := $(patsubst user/%.c,$(BUILD)/user/%.o,$(wildcard user/common/*.c user/cluster/*.c))
# The versions that a module can be built for (5.1 5.3 5.4), and the flags for one of them.
lua_version = $(patsubst lua%,%,$(subst luajit,lua5.1,$(1)))
LUA_VERSIONS := $(sort $(call lua_version,$(LUAS)))
lua_cflags = $(shell $(PKG_CONFIG) --cflags \
	$(MODULE_$(firstword $(filter lua$(1),$(LUAS)) luajit)))
# Of a module, in the directory of its version.
LUA_OBJS := $(patsubst lua/%.c,%.o,$(wildcard lua/*.c))
LUA_MODULES := $(LUA_VERSIONS:%=$(BUILD)/lua/%/conncount.so)
LUA_LIBRARIES := $(LUA_VERSIONS:%=$(BUILD)/libconncount-lua%.a)
TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(filter-out %.bpf.c,$(wildcard tests/tools/*.c)))
BENCHES := $(patsubst %,$(BUILD)/bench/%,ask cycle daemons live runtime split spoof transfer trie)
EMBEDS := $(LUAS:%=$(BUILD)/tests/embed-%)
EXAMPLE := $(BUILD)/tests/server

SONAME := libconncount.so.$(ABI)
PRODUCTS := $(BUILD)/conncount $(BUILD)/conncount-exporter $(BUILD)/conncount-cluster \
	$(BUILD)/libconncount.so $(BUILD)/libconncount.a \
	$(LUA_MODULES) $(BUILD)/lua/conncount.so $(LUA_LIBRARIES) $(BUILD)/man/libconncount.3
# The pages of each section of the manual.
MAN := $(wildcard user/dist/man/*.[1-9]) $(BUILD)/man/libconncount.3
# The units that are templates.
SERVICES := $(patsubst user/dist/systemd/%.in,%,$(wildcard user/dist/systemd/*.service.in))
MAN_SECTIONS := 1 3 5 7 8

ifdef V
Q :=
say = @:
else
Q := @
say = @printf '  %-8s %s\n' $(1) '$@'
endif

.DELETE_ON_ERROR:
.PHONY: all tests tools check bench install uninstall dist deb clean help FORCE
.SUFFIXES:
.SECONDARY:

all: $(PRODUCTS)

# --- the BPF programs -----------------------------------------------------------------------

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c Makefile
	$(call say,BPF)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# The programs' constants have a type of abi.h.
$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL)
	$(Q)printf '#include <linux/types.h>\n#include "abi.h"\n' > $@
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >> $@

# --- libconncount ---------------------------------------------------------------------------

$(BUILD)/%.o: %.c Makefile
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c $< -o $@

$(BUILD)/libconncount.a: $(LIB_OBJS)
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/$(SONAME): $(LIB_OBJS) user/lib/libconncount.map
	$(call say,LD)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=user/lib/libconncount.map \
		-Wl,-z,defs $(ALL_LDFLAGS) -o $@ $(LIB_OBJS) $(LIB_LIBS)

$(BUILD)/libconncount.so: $(BUILD)/$(SONAME)
	$(Q)ln -sf $(SONAME) $@

# --- the command, with the BPF object inside ------------------------------------------------

$(CMD_OBJS): | $(BUILD)/bpf/conncount.skel.h
$(addprefix $(BUILD)/user/load/,load.o verify.o windows.o): $(BUILD)/bpf/conncount.skel.h

$(BUILD)/conncount: $(CMD_OBJS) $(BUILD)/libconncount.a
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CMD_LIBS)

# The files of the page, as the numbers of a C array.
$(BUILD)/page/%.inc: user/page/% Makefile
	$(call say,PAGE)
	@mkdir -p $(@D)
	$(Q)od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g' > $@

$(BUILD)/user/exporter/page.o: $(PAGE)

# What `conncount exporter` becomes.
$(BUILD)/conncount-exporter: $(EXPORTER_OBJS) $(BUILD)/libconncount.a
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(EXPORTER_LIBS)

# What `conncount cluster` becomes.
$(BUILD)/conncount-cluster: $(CLUSTER_OBJS) $(BUILD)/libconncount.a
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CLUSTER_LIBS)

# --- the Lua module -------------------------------------------------------------------------

# One of its files, for each version: $(eval $(call lua_object,NAME))
define lua_object
$(BUILD)/lua/%/$(1).o: lua/$(1).c Makefile
	$$(call say,CC)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) $$(call lua_cflags,$$*) $$(ALL_CFLAGS) -c $$< -o $$@
endef

$(foreach o,$(LUA_OBJS),$(eval $(call lua_object,$(basename $o))))

# It carries libconncount inside, so that it works wherever it is copied to.
$(BUILD)/lua/%/conncount.so: $(addprefix $(BUILD)/lua/%/,$(LUA_OBJS)) $(BUILD)/libconncount.a
	$(call say,LD)
	$(Q)$(CC) -shared $(ALL_LDFLAGS) -Wl,--exclude-libs,ALL -o $@ $^ $(LIB_LIBS)

# For LUA_CPATH in a build directory: that of Lua 5.4.
$(BUILD)/lua/conncount.so: $(BUILD)/lua/5.4/conncount.so
	$(Q)ln -sf 5.4/conncount.so $@

$(BUILD)/libconncount-lua%.a: $(addprefix $(BUILD)/lua/%/,$(LUA_OBJS))
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# --- the manual -----------------------------------------------------------------------------

$(BUILD)/man/libconncount.3: user/dist/man/libconncount.awk user/lib/conncount.h user/dist/man/libconncount.mdoc
	$(call say,MAN)
	@mkdir -p $(@D)
	$(Q)awk -f $^ > $@

# --- what the tests run ---------------------------------------------------------------------

# Builds that tests load in place of this one: faults-N, loses-N and races-N, see above; newer, of another
# version; layout, with maps of another layout. Each by a make of its own.
VARIANTS := faults-3 faults-5 faults-7 loses-10000 races-2 newer layout

# Another program on the same sockets, that leaves alone, adds to, or clears their callback flags.
NEIGHBOURS := plain flags clears

$(BUILD)/tests/faults-%/conncount: FORCE
	$(Q)$(MAKE) -s --no-print-directory BUILD=$(@D) FAULTS=$* $@

$(BUILD)/tests/loses-%/conncount: FORCE
	$(Q)$(MAKE) -s --no-print-directory BUILD=$(@D) LOSES=$* $@

$(BUILD)/tests/races-%/conncount: FORCE
	$(Q)$(MAKE) -s --no-print-directory BUILD=$(@D) RACES=$* $@

$(BUILD)/tests/newer/conncount: FORCE
	$(Q)$(MAKE) -s --no-print-directory BUILD=$(@D) VERSION=0.1.99 $@

$(BUILD)/tests/layout/conncount: tests/tools/relayout $(wildcard bpf/*.[ch] user/*/*.[ch]) Makefile
	$(Q)tests/tools/relayout $(@D)/source
	$(Q)$(MAKE) -s --no-print-directory -C $(@D)/source BUILD=.. ../conncount
	@touch $@

$(BUILD)/tests/neighbour-plain.o: NEIGHBOUR :=
$(BUILD)/tests/neighbour-flags.o: NEIGHBOUR := -DFLAGS=0xc
$(BUILD)/tests/neighbour-clears.o: NEIGHBOUR := -DCLEARS
$(BUILD)/tests/neighbour-%.o: tests/tools/neighbour.bpf.c Makefile
	$(call say,BPF)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) $(NEIGHBOUR) -c $< -o $@

$(BUILD)/tests/contend.bpf.o: tests/tools/contend.bpf.c tests/tools/contend.h Makefile
	$(call say,BPF)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# Loaded into programs that have neither our flags nor a sanitizer.
$(BUILD)/tests/shifted_clock.so: tests/tools/shifted_clock.so.c Makefile
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(WARNINGS) -D_GNU_SOURCE -O2 -fPIC -shared -o $@ $<

# Built once, so that the same files run on every kernel, and where no compiler is.
tests: tools $(VARIANTS:%=$(BUILD)/tests/%/conncount)

# Without the variants of the command, which are most of the work.
tools: all $(TOOLS) $(EMBEDS) $(EXAMPLE) $(BENCHES) \
	$(NEIGHBOURS:%=$(BUILD)/tests/neighbour-%.o) $(BUILD)/tests/contend.bpf.o

$(BUILD)/tests/read_limits: $(addprefix $(BUILD)/user/, \
	load/config.o common/lines.o common/limit_text.o common/number.o)

$(BUILD)/tests/%: tests/tools/%.c $(BUILD)/libconncount.a Makefile
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(filter %.o,$^) \
		$(BUILD)/libconncount.a $(CMD_LIBS)

$(foreach lua,$(LUAS),$(eval $(BUILD)/tests/embed-$(lua): \
	$(BUILD)/libconncount-lua$(call lua_version,$(lua)).a))

$(EMBEDS): $(BUILD)/tests/embed-%: tests/unit/embed.c $(BUILD)/libconncount.a Makefile
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Ilua $(shell $(PKG_CONFIG) --cflags $(MODULE_$*)) $(ALL_CFLAGS) $(ALL_LDFLAGS) \
		-MF $@.d -o $@ $< $(BUILD)/libconncount-lua$(call lua_version,$*).a $(BUILD)/libconncount.a \
		$(shell $(PKG_CONFIG) --libs $(MODULE_$*)) $(LIB_LIBS)

# The example as it is, with what is not installed yet.
$(EXAMPLE): $(wildcard lua/example/*.[ch]) $(BUILD)/libconncount-lua5.4.a $(BUILD)/libconncount.a Makefile
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -DSERVER_DIR='"$(CURDIR)/lua/example"' -Ilua $(call lua_cflags,5.4) \
		$(filter-out -MMD -MP,$(ALL_CFLAGS)) $(ALL_LDFLAGS) -o $@ $(filter %.c %.a,$^) \
		$(shell $(PKG_CONFIG) --libs $(MODULE_lua5.4)) $(LIB_LIBS)

# --- what the benchmark runs ------------------------------------------------------------------

$(BUILD)/bench/%.bpf.o: tests/bench/%.bpf.c Makefile
	$(call say,BPF)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(BUILD)/bench/%.skel.h: $(BUILD)/bench/%.bpf.o
	$(call say,SKEL)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@

$(BUILD)/bench/split $(BUILD)/bench/trie: $(BUILD)/bench/%: $(BUILD)/bench/%.skel.h

$(BUILD)/bench/ask: $(BUILD)/libconncount-lua5.4.a
$(BUILD)/bench/ask: BENCH_CFLAGS = -Ilua $(call lua_cflags,5.4)
$(BUILD)/bench/ask: BENCH_LIBS = $(shell $(PKG_CONFIG) --libs $(MODULE_lua5.4))

$(BENCHES): $(BUILD)/bench/%: tests/bench/%.c $(BUILD)/tests/bench/connections.o $(BUILD)/libconncount.a Makefile
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -I$(BUILD)/bench $(BENCH_CFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ \
		$< $(BUILD)/tests/bench/connections.o $(filter %-lua5.4.a,$^) $(BUILD)/libconncount.a \
		$(LIB_LIBS) $(BENCH_LIBS)

# QUICK=1: whether it works; and the page stays as it is.
$(BUILD)/bench/baseline-%/conncount: FORCE
	$(Q)$(MAKE) -s --no-print-directory BUILD=$(@D) BASELINE=$* $@

bench: all $(BENCHES) $(addprefix $(BUILD)/bench/baseline-,1/conncount 2/conncount) \
		$(addprefix $(BUILD)/tests/,objects tell json)
	tests/bench/bench $(if $(QUICK),--quick,--page)

check: tests
	./tests/run all

# --- installation ---------------------------------------------------------------------------

# The way from LIBDIR up to PREFIX, which it is below, and to INCLUDEDIR, if that is below, too.
empty :=
libdir_to_prefix = $(subst $(empty) $(empty),/,$(strip \
	$(patsubst %,..,$(subst /, ,$(patsubst $(PREFIX)/%,%,$(LIBDIR))))))
libdir_to_includedir = $(patsubst $(PREFIX)/%,$(libdir_to_prefix)/%,$(INCLUDEDIR))

# Fill in a template: $(call fill,FROM,TO,VERSION OF LUA)
fill = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@SBINDIR@|$(SBINDIR)|' -e 's|@LIBDIR@|$(LIBDIR)|' \
	-e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' -e 's|@VERSION@|$(VERSION)|' \
	-e 's|@LUA@|$(3)|' -e 's|@LUA_PROGRAM@|$(LUA_PROGRAM)|' -e 's|@ABI@|$(ABI)|' \
	-e 's|@LIBDIR_TO_INCLUDEDIR@|$(libdir_to_includedir)|' \
	$(1) > $(2) && chmod 644 $(2)

# A program in Lua: $(call install_lua_program,FILE,DIRECTORY)
install_lua_program = sed '1s|^\#!.*|\#!$(LUA_PROGRAM)|' $(1) > $(DESTDIR)$(2)/$(notdir $(1)) && \
	chmod 755 $(DESTDIR)$(2)/$(notdir $(1))

# What there is of each version of Lua: $(call install_lua,VERSION)
define install_lua
$(call fill,lua/conncount-lua.pc.in,$(DESTDIR)$(LIBDIR)/pkgconfig/conncount-lua$(1).pc,$(1))
$(INSTALL) -m 644 $(BUILD)/lua/$(1)/conncount.so $(DESTDIR)$(LUA_CDIR)/$(1)/
$(INSTALL) -m 644 lua/conncount/ask.lua $(DESTDIR)$(LUA_DIR)/$(1)/conncount/
$(INSTALL) -m 644 lua/msys/audit.lua $(DESTDIR)$(LUA_DIR)/$(1)/msys/
$(INSTALL) -m 644 lua/msys/extended/ac.lua $(DESTDIR)$(LUA_DIR)/$(1)/msys/extended/

endef

install: all
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(SBINDIR) \
		$(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(PREFIX)/lib/conncount \
		$(DESTDIR)$(LIBDIR)/pkgconfig $(LUA_VERSIONS:%=$(DESTDIR)$(LUA_CDIR)/%) \
		$(LUA_VERSIONS:%=$(DESTDIR)$(LUA_DIR)/%/msys/extended) \
		$(LUA_VERSIONS:%=$(DESTDIR)$(LUA_DIR)/%/conncount) \
		$(DESTDIR)$(PREFIX)/share/conncount/policyd $(DESTDIR)$(OPENSMTPDDIR) \
		$(DESTDIR)$(SYSTEMDUNITDIR) \
		$(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(TMPFILESDIR) \
		$(MAN_SECTIONS:%=$(DESTDIR)$(MANDIR)/man%) \
		$(DESTDIR)$(BASHCOMPDIR) $(DESTDIR)$(ZSHCOMPDIR) $(DESTDIR)$(DOCDIR)/examples
	$(INSTALL) -m 755 $(BUILD)/conncount $(DESTDIR)$(PREFIX)/bin/
	$(call install_lua_program,lua/servers/policyd/conncount-policyd,$(SBINDIR))
	$(INSTALL) -m 644 $(filter-out %/conncount-policy.lua,$(wildcard lua/servers/policyd/*.lua)) \
		$(DESTDIR)$(PREFIX)/share/conncount/policyd/
	$(INSTALL) -m 755 $(BUILD)/conncount-exporter $(BUILD)/conncount-cluster \
		$(DESTDIR)$(PREFIX)/lib/conncount/
	$(INSTALL) -m 644 user/lib/conncount.h lua/conncount_lua.h $(DESTDIR)$(INCLUDEDIR)/
	$(INSTALL) -m 644 $(BUILD)/libconncount.a $(LUA_LIBRARIES) $(DESTDIR)$(LIBDIR)/
	$(INSTALL) -m 755 $(BUILD)/$(SONAME) $(DESTDIR)$(LIBDIR)/
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libconncount.so
	$(call fill,user/lib/conncount.pc.in,$(DESTDIR)$(LIBDIR)/pkgconfig/conncount.pc)
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/cmake/conncount $(DESTDIR)$(DOCDIR)/examples/server
	$(foreach f,conncount-config.cmake conncount-config-version.cmake,\
		$(call fill,user/lib/$f.in,$(DESTDIR)$(LIBDIR)/cmake/conncount/$f) &&) :
	$(INSTALL) -m 644 lua/example/*.* lua/example/Makefile $(DESTDIR)$(DOCDIR)/examples/server/
	$(foreach v,$(LUA_VERSIONS),$(call install_lua,$v))
	ln -sf conncount-lua5.4.pc $(DESTDIR)$(LIBDIR)/pkgconfig/conncount-lua.pc
	$(INSTALL) -m 644 lua/servers/haproxy/haproxy.lua $(DESTDIR)$(PREFIX)/share/conncount/haproxy.lua
	$(INSTALL) -m 644 lua/servers/rspamd/rspamd.lua $(DESTDIR)$(PREFIX)/share/conncount/rspamd.lua
	$(call install_lua_program,lua/servers/opensmtpd/filter-conncount,$(OPENSMTPDDIR))
	$(foreach n,$(MAN_SECTIONS),$(INSTALL) -m 644 $(filter %.$(n),$(MAN)) \
		$(DESTDIR)$(MANDIR)/man$(n)/ &&) :
	$(INSTALL) -m 644 user/dist/completions/conncount.bash $(DESTDIR)$(BASHCOMPDIR)/conncount
	$(INSTALL) -m 644 user/dist/completions/conncount.zsh $(DESTDIR)$(ZSHCOMPDIR)/_conncount
	$(INSTALL) -m 644 user/dist/*.conf user/dist/monitoring/* \
		user/dist/container/*.container user/dist/container/*.yml lua/servers/policyd/conncount-policy.lua \
		$(DESTDIR)$(DOCDIR)/examples/
	$(foreach u,$(SERVICES),$(call fill,user/dist/systemd/$u.in,$(DESTDIR)$(SYSTEMDUNITDIR)/$u) &&) :
	$(INSTALL) -m 644 user/dist/systemd/*.socket $(DESTDIR)$(SYSTEMDUNITDIR)/
	$(INSTALL) -m 644 user/dist/systemd/conncount.sysusers $(DESTDIR)$(SYSUSERSDIR)/conncount.conf
	$(INSTALL) -m 644 user/dist/systemd/conncount-cluster.sysusers \
		$(DESTDIR)$(SYSUSERSDIR)/conncount-cluster.conf
	$(INSTALL) -m 644 user/dist/systemd/conncount.tmpfiles $(DESTDIR)$(TMPFILESDIR)/conncount.conf
ifndef DESTDIR
	-ldconfig 2>/dev/null
endif

# What an installation into an empty directory has, and then those of its directories that only
# conncount has. Configurations are not among them: nobody but the administrator wrote these.
uninstall:
	$(Q)list=$$(mktemp -d) && trap 'rm -rf "$$list"' EXIT && \
	$(MAKE) -s --no-print-directory install DESTDIR="$$list" && cd "$$list" && \
	find . ! -type d -exec sh -c 'for f; do rm -f "$(DESTDIR)$${f#.}"; done' sh {} + && \
	find . -depth -type d \( -path '*conncount*' -o -path '*/msys*' \) \
		-exec sh -c 'for d; do rmdir "$(DESTDIR)$${d#.}" 2>/dev/null || :; done' sh {} +
ifndef DESTDIR
	-ldconfig 2>/dev/null
endif

# gzip -n: without the time.
dist:
	@mkdir -p $(BUILD)
	git archive --format=tar --prefix=conncount-$(VERSION)/ HEAD | gzip -9n > $(BUILD)/conncount-$(VERSION).tar.gz

# --- Debian packages ------------------------------------------------------------------------

deb:
	./scripts/deb $(BUILD)/deb

clean:
	rm -rf $(BUILD)

# The targets and variables, from the head of this file.
help:
	@sed -n '/^# make/s/^# //p' Makefile

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
