# The front doors. `make demo` and `make check` start from a machine with nothing but git and
# make; the build itself is described in meson.build. Everything is written under build/.

B := build
export PYTHONDONTWRITEBYTECODE := 1
CI ?=
export CI

all: ## build build/tinamou
	@tools/need build
	@tools/build $(B)

demo: all ## build, and play a few scenes
	@tools/demo $(B)/tinamou

check: ## build and pass all quick tests
	@tools/need build test driver
	@tools/build $(B) -Dtests=true
	@tools/check quick

check-long: ## check, then sanitizers, clang, long tests, the package
	@tools/need build test driver long
	@tools/build $(B) -Dtests=true
	@tools/check long

driver: ## the kernel module for Debian's kernel: build/driver/amd64/tinamou.ko
	@tools/need driver
	@tools/module

bench: all ## compare speed with QEMU TCG and Bochs
	@tools/need bench
	@bench/run $(B)/tinamou && bench/linux $(B)/tinamou && \
		bench/table $(B)/tinamou && bench/io $(B)/tinamou && bench/debian $(B)/tinamou

install: all ## install below PREFIX (/usr/local), honours DESTDIR
	@tools/install $(B)/tinamou "$(DESTDIR)" "$(or $(PREFIX),/usr/local)"

install-qemu-names: all ## links named as QEMU's programs in DIR, for scripts that call them
	@tools/install-qemu-names $(B)/tinamou "$(DIR)"

dist: ## one static file: build/dist/tinamou-VERSION-x86_64
	@tools/need build
	@tools/dist

deb: dist ## a Debian package: build/dist/tinamou_VERSION_amd64.deb
	@tools/deb

sanitize: ## tests under the address and undefined-behaviour sanitizers
	@tools/need build test
	@tools/build $(B)/asan -Dtests=true -Db_sanitize=address,undefined -Db_lundef=false
	@tools/check --build $(B)/asan units

tsan: ## tests under the thread sanitizer
	@tools/need build test
	@tools/build $(B)/tsan -Dtests=true -Db_sanitize=thread -Db_lundef=false
	@tools/check --build $(B)/tsan units

clang: ## build and test with clang
	@tools/need build test long
	@CC=clang tools/build $(B)/clang -Dtests=true
	@tools/check --build $(B)/clang units

fuzz: ## build the fuzz targets: build/fuzz
	@tools/need build long
	@CC=clang tools/build $(B)/fuzz -Dfuzz=true -Dtests=true -Db_lundef=false

format: ## format the C sources
	@tools/sources | xargs clang-format -i

tidy: all ## clang-tidy
	@tools/need long
	@tools/sources | grep '^src/.*\.c$$' | xargs -P 4 -n 8 clang-tidy -quiet -p $(B)

readme: all ## picture and figures of README.md from real runs
	@tools/need bench
	@tools/readme

clean: ## remove what was built; downloaded packages stay
	@find $(B) -mindepth 1 -maxdepth 1 ! -name packages -exec rm -rf {} + 2>/dev/null || true

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

.PHONY: all demo check check-long driver bench install install-qemu-names dist deb sanitize tsan clang fuzz format tidy \
	readme clean help
