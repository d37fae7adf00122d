// SPDX-License-Identifier: BSD-2-Clause
/*
 * origin.c - since when an instance counts, when it was loaded, and for whom.
 */
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "clock.h"
#include "maps.h"
#include "origin.h"

/* When the kernel loaded the sum program, the one that readers may open; 0 if that fails. */
static uint64_t load_time(const char *dir)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = pin_open(dir, CC_DIR_LIVE, CC_PIN_SUM, BPF_F_RDONLY);

	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		info.load_time = 0;
	close(fd);
	return info.load_time;
}

/* Write a time of CLOCK_BOOTTIME in UTC. Returns false if it is 0 or cannot be written. */
static bool format_time(uint64_t boot_time, char *ret)
{
	struct tm utc;
	struct timespec now;
	time_t when;

	if (!boot_time || clock_gettime(CLOCK_REALTIME, &now))
		return false;
	when = (time_t)(((uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec - boot_ns() +
			 boot_time) /
			NS_PER_S);
	return gmtime_r(&when, &utc) && strftime(ret, ORIGIN_TIME_SIZE, "%FT%TZ", &utc);
}

bool origin_since(const char *dir, char *ret)
{
	return format_time(live_control(dir).since, ret);
}

bool origin_time(const char *dir, char *ret)
{
	return format_time(load_time(dir), ret);
}

bool origin_group(const char *dir, char *ret)
{
	const struct group *group;
	struct stat st;

	if (stat(dir, &st) || !st.st_gid)
		return false;
	group = getgrgid(st.st_gid);
	if (group)
		snprintf(ret, ORIGIN_GROUP_SIZE, "%s", group->gr_name);
	else
		snprintf(ret, ORIGIN_GROUP_SIZE, "%u", st.st_gid);
	return true;
}
