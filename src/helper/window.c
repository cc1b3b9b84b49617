/*
 * window.c - the viewer that is a window: SDL2, loaded at run time.
 *
 * SDL is opened by dlopen, so that this program starts, and says what is missing, on a host
 * without it. The picture is stretched to the window in whole steps where it fits. A click takes
 * the mouse, Ctrl+Alt+G gives it back; closing the window ends the run.
 */
#include <SDL2/SDL.h>
#include <dlfcn.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "helper/viewer.h"

#define LIBRARY  "libSDL2-2.0.so.0"
#define FRAME_MS 15
#define WITHOUT  "tinamou: --display window: "
#define G_USAGE  SDL_SCANCODE_G

/* Everything that is called, by its name in SDL. */
#define FUNCTIONS(f)                                                                               \
	f(SDL_Init);                                                                               \
	f(SDL_Quit);                                                                               \
	f(SDL_GetError);                                                                           \
	f(SDL_SetHint);                                                                            \
	f(SDL_CreateWindow);                                                                       \
	f(SDL_ShowWindow);                                                                         \
	f(SDL_HideWindow);                                                                         \
	f(SDL_SetWindowSize);                                                                      \
	f(SDL_SetWindowTitle);                                                                     \
	f(SDL_CreateRenderer);                                                                     \
	f(SDL_CreateTexture);                                                                      \
	f(SDL_DestroyTexture);                                                                     \
	f(SDL_UpdateTexture);                                                                      \
	f(SDL_RenderClear);                                                                        \
	f(SDL_RenderCopy);                                                                         \
	f(SDL_RenderPresent);                                                                      \
	f(SDL_RenderSetLogicalSize);                                                               \
	f(SDL_PollEvent);                                                                          \
	f(SDL_GetModState);                                                                        \
	f(SDL_SetRelativeMouseMode)

struct sdl {
#define POINTER(name) __typeof__(&name) name
	FUNCTIONS(POINTER);
};

struct window {
	struct viewer v;
	struct sdl sdl;
	SDL_Window *window;
	SDL_Renderer *renderer;
	SDL_Texture *texture;
	unsigned buttons;
	bool grabbed;
	bool waits, shown; /* it is shown while there is a picture */
};

/* false, with a line on standard error: there is no such function. */
static bool load_function(void *library, const char *name, void *to)
{
	void *f = dlsym(library, name);

	if (!f)
		fprintf(stderr, WITHOUT "%s has no %s\n", LIBRARY, name);
	memcpy(to, &f, sizeof(f));
	return f;
}

static bool load_sdl(struct sdl *sdl)
{
	void *library = dlopen(LIBRARY, RTLD_NOW);
	bool all = true;

	if (!library) {
		fprintf(stderr, WITHOUT "%s is missing (Debian's package libsdl2-2.0-0)\n",
			LIBRARY);
		return false;
	}
#define LOAD(name) all = all && load_function(library, #name, &sdl->name)
	FUNCTIONS(LOAD);
	return all;
}

static void set_title(struct window *w)
{
	w->sdl.SDL_SetWindowTitle(
		w->window, w->grabbed ? "tinamou - Ctrl+Alt+G gives the mouse back" : "tinamou");
}

static bool open_window(struct window *w)
{
	w->sdl.SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
	w->sdl.SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
	if (!w->sdl.SDL_Init(SDL_INIT_VIDEO))
		w->window = w->sdl.SDL_CreateWindow("tinamou", SDL_WINDOWPOS_UNDEFINED,
			SDL_WINDOWPOS_UNDEFINED, 720, 400,
			SDL_WINDOW_RESIZABLE | (w->waits ? SDL_WINDOW_HIDDEN : 0));
	if (w->window)
		w->renderer = w->sdl.SDL_CreateRenderer(w->window, -1, 0);
	if (!w->renderer)
		fprintf(stderr, WITHOUT "%s\n", w->sdl.SDL_GetError());
	return w->renderer;
}

/* ---- pictures ---- */

static bool new_size(struct window *w)
{
	int width = (int)w->v.width, height = (int)w->v.height;

	if (w->texture)
		w->sdl.SDL_DestroyTexture(w->texture);
	w->texture = w->sdl.SDL_CreateTexture(
		w->renderer, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STREAMING, width, height);
	w->sdl.SDL_SetWindowSize(w->window, width, height);
	w->sdl.SDL_RenderSetLogicalSize(w->renderer, width, height);
	return w->texture;
}

static void draw(struct window *w)
{
	w->sdl.SDL_RenderClear(w->renderer);
	if (w->texture)
		w->sdl.SDL_RenderCopy(w->renderer, w->texture, NULL, NULL);
	w->sdl.SDL_RenderPresent(w->renderer);
}

/* Text is the terminal's. */
static void come_and_go(struct window *w)
{
	bool picture = w->v.shared->width;

	if (!w->waits || picture == w->shown)
		return;
	w->shown = picture;
	if (picture)
		w->sdl.SDL_ShowWindow(w->window);
	else
		w->sdl.SDL_HideWindow(w->window);
}

static bool update(struct window *w)
{
	bool resized;

	come_and_go(w);
	if (!viewer_update(&w->v, &resized))
		return true;
	if ((resized || !w->texture) && !new_size(w))
		return false;
	w->sdl.SDL_UpdateTexture(w->texture, NULL, w->v.pixel, (int)w->v.width * 4);
	draw(w);
	return true;
}

/* ---- input ---- */

static void grab(struct window *w, bool on)
{
	w->grabbed = on;
	w->sdl.SDL_SetRelativeMouseMode(on);
	set_title(w);
}

static void on_key(struct window *w, const SDL_KeyboardEvent *e)
{
	bool both = (w->sdl.SDL_GetModState() & KMOD_CTRL) && (w->sdl.SDL_GetModState() & KMOD_ALT);

	if (e->keysym.scancode == G_USAGE && both && e->type == SDL_KEYDOWN)
		grab(w, !w->grabbed);
	else
		viewer_key(key_of_usage(e->keysym.scancode), e->type == SDL_KEYDOWN);
}

static unsigned button_bit(uint8_t button)
{
	return button == SDL_BUTTON_LEFT     ? 1
	       : button == SDL_BUTTON_RIGHT  ? 2
	       : button == SDL_BUTTON_MIDDLE ? 4
					     : 0;
}

/* The click that takes the mouse is not the guest's. */
static void on_button(struct window *w, const SDL_MouseButtonEvent *e)
{
	unsigned bit = button_bit(e->button);

	if (!w->grabbed) {
		if (e->type == SDL_MOUSEBUTTONDOWN)
			grab(w, true);
		return;
	}
	w->buttons = e->type == SDL_MOUSEBUTTONDOWN ? w->buttons | bit : w->buttons & ~bit;
	viewer_pointer(0, 0, w->buttons);
}

static void on_event(struct window *w, const SDL_Event *e)
{
	switch (e->type) {
	case SDL_QUIT:
		viewer_closed();
		break;
	case SDL_KEYDOWN:
	case SDL_KEYUP:
		on_key(w, &e->key);
		break;
	case SDL_MOUSEMOTION:
		if (w->grabbed)
			viewer_pointer(e->motion.xrel, -e->motion.yrel, w->buttons);
		break;
	case SDL_MOUSEBUTTONDOWN:
	case SDL_MOUSEBUTTONUP:
		on_button(w, &e->button);
		break;
	case SDL_WINDOWEVENT:
		draw(w);
		break;
	}
}

/* SDL's events have no descriptor, so they are asked for every few milliseconds. */
static bool serve(struct window *w)
{
	struct pollfd p = {VIEWER_FD_SOCKET, POLLIN, 0};
	SDL_Event e;

	poll(&p, 1, FRAME_MS);
	if (p.revents && !viewer_goes_on())
		return false;
	while (w->sdl.SDL_PollEvent(&e))
		on_event(w, &e);
	return update(w);
}

int main(int argc, char **argv)
{
	struct window w = {.waits = argc > 1 && !strcmp(argv[1], VIEWER_WHEN_DRAWN)};

	if (w.waits && !freopen("/dev/null", "w", stderr)) /* nobody asked for it: no complaints */
		return 1;
	if (!viewer_open(&w.v) || !load_sdl(&w.sdl) || !open_window(&w) ||
		!viewer_confine(CONFINE_WINDOW))
		return 1;
	while (serve(&w))
		;
	w.sdl.SDL_Quit();
	return 0;
}
