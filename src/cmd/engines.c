/* engines.c - `tinamou engines`, and how --engine chooses; see engines.h. */
#include "cmd/engines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/status.h"
#include "core/engine.h"

#include "engine/driver/driver.h"
#include "engine/interpret/interpret.h"
#include "engine/kvm/kvm.h"
#include "engine/translate/translate.h"
#include "util/util.h"

/* Fastest first: the order in which `auto` asks. */
static const struct engine_ops *const engines[] = {
	&kvm_engine, &driver_engine, &translate_engine, &interpret_engine};

static const char *const level_name[] = {
	[ENGINE_UNUSABLE] = "unusable",
	[ENGINE_SLOW] = "software-backed",
	[ENGINE_READY] = "ready",
};

const struct engine_ops *engine_by_name(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}

static const struct engine_ops *choose_auto(char *why, size_t whylen, char *err, size_t errlen)
{
	char passed[256] = "";

	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++) {
		struct engine_verdict v = {0};

		engines[i]->probe(&v);
		if (v.level == ENGINE_READY) {
			snprintf(why, whylen, "engine %s%s%s", engines[i]->name,
				passed[0] ? "; " : "", passed);
			return engines[i];
		}
		snprintf(passed + strlen(passed), sizeof(passed) - strlen(passed), "%s%s: %s",
			passed[0] ? "; " : "not ", engines[i]->name, v.why);
	}
	snprintf(err, errlen, "no engine works here: %s", passed);
	return NULL;
}

/* Named engines may be slow, as long as they work. */
static const struct engine_ops *usable(const char *name, char *err, size_t errlen)
{
	const struct engine_ops *e = engine_by_name(name);
	struct engine_verdict v = {0};

	if (!e) {
		snprintf(err, errlen, "no engine is called '%s'; 'tinamou engines' lists them",
			name);
		return NULL;
	}
	e->probe(&v);
	if (v.level != ENGINE_UNUSABLE)
		return e;
	snprintf(err, errlen, "engine %s: %s%s%s", name, v.why, v.cure[0] ? "; " : "", v.cure);
	return NULL;
}

const struct engine_ops *engine_choose(
	const char *list, char *why, size_t whylen, char *err, size_t errlen)
{
	char *copy, *save = NULL;
	const struct engine_ops *found = NULL;

	why[0] = '\0';
	if (!strcmp(list, "auto"))
		return choose_auto(why, whylen, err, errlen);
	snprintf(err, errlen, "--engine wants a name; 'tinamou engines' lists them");
	copy = xstrdup(list);
	for (char *name = strtok_r(copy, ",", &save); name && !found;
		name = strtok_r(NULL, ",", &save)) {
		found = usable(name, err, errlen);
		if (found && strchr(list, ','))
			snprintf(why, whylen, "engine %s, the first of %s that works", name, list);
	}
	free(copy);
	return found;
}

int cmd_engines(int argc, char **argv)
{
	if (argc > 1) {
		fprintf(stderr, "tinamou: engines takes no arguments\n");
		return STATUS_USAGE;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++) {
		struct engine_verdict v = {0};

		engines[i]->probe(&v);
		printf("%-10s %-16s", engines[i]->name, level_name[v.level]);
		if (v.mips > 0)
			printf(" %8.1f M instructions/s", v.mips);
		printf("  %s%s%s\n", v.why, v.cure[0] ? "; " : "", v.cure);
	}
	return 0;
}
