// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Watches what the processes of guarded cgroups open, execute and connect to; kills or denies by rules in maps.
 *
 * A file is judged by what was opened (inode and device, then the directories above it), after the kernel has opened it and
 * before the process can use it: no name, link, mount or race changes the answer. With WITH_LSM it is judged by hooks of the
 * kernel's security modules instead, before it is opened, so that it can be denied. `scripts/bpf` compiles this file twice.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define SLOTS 4
#define ANY_GROUP (~0ULL)
#define DEPTH 32
#define EPERM 1
#define SIGKILL 9
#define FMODE_WRITE 2
#define AF_INET 2
#define AF_INET6 10
#define SOCK_RAW 3

enum act { ACT_OPEN = 1, ACT_WRITE = 2, ACT_EXECUTE = 4, ACT_CONNECT = 8, ACT_RAW = 16 };
enum answer { REPORT = 0, DENY = 1, KILL = 2 };
#ifdef WITH_LSM
#define CAN_DENY 1
#else
#define CAN_DENY 0
#endif

enum programs { ANY_PROGRAM = 0, ONLY = 1, BESIDES = 2 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct super_block {
	__u32 s_dev;
};
struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
};
struct dentry {
	struct dentry *d_parent;
	struct inode *d_inode;
};
struct path {
	struct dentry *dentry;
};
struct file {
	unsigned int f_mode;
	struct path f_path;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct mm_struct {
	struct file *exe_file;
};
struct task_struct {
	struct files_struct *files;
	struct mm_struct *mm;
};
struct linux_binprm {
	struct file *file;
};
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long orig_ax;
};
#define NUMBER(regs) BPF_CORE_READ(regs, orig_ax)
#define OPENS(number) ((number) == 2 || (number) == 85 || (number) == 257 || (number) == 437)
#else
struct pt_regs {
	int syscallno;
};
#define NUMBER(regs) ((unsigned long)BPF_CORE_READ(regs, syscallno))
#define OPENS(number) ((number) == 56 || (number) == 437)
#endif
#pragma clang attribute pop

struct place {
	__u64 group;
	__u64 inode;
	__u32 device;
	__u32 slot;
};

struct rule {
	__u32 id;
	__u8 acts;
	__u8 answer;
	__u8 below;
	__u8 programs;
};

struct program {
	__u64 inode;
	__u32 device;
	__u32 rule;
};

struct network {
	__u32 bits;
	__u32 slot;
	__u64 group;
	__u8 address[16];
};

struct network_rule {
	__u32 id;
	__u8 answer;
	__u8 protocols;
	__u16 count;
	__u16 ports[8];
};

struct event {
	__u64 began_ns;
	__u64 told_ns;
	__u64 group;
	__u64 inode;
	__u32 device;
	__u32 rule;
	__u32 pid;
	__u32 act;
	__u32 answer;
	__u16 port;
	__u8 protocol;
	__u8 family;
	__u8 address[16];
	char program[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u32);
} guarded SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct place);
	__type(value, struct rule);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct program);
	__type(value, __u8);
} programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network);
	__type(value, struct network_rule);
} networks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

/* What did not fit into `events`, so that it is known that something is missing. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

static __always_inline struct event *begin(__u64 began_ns, __u64 group, __u32 rule, __u32 act, __u32 answer)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__u32 zero = 0;
		__u64 *count = bpf_map_lookup_elem(&lost, &zero);
		if (count)
			__sync_fetch_and_add(count, 1);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->began_ns = began_ns;
	event->group = group;
	event->rule = rule;
	event->act = act;
	event->answer = answer;
	event->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(event->program, sizeof(event->program));
	return event;
}

static __always_inline bool concerns(const struct rule *rule, struct task_struct *task)
{
	struct program key = {};
	struct inode *inode;

	if (rule->programs == ANY_PROGRAM)
		return true;
	inode = BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_inode);
	key.inode = BPF_CORE_READ(inode, i_ino);
	key.device = BPF_CORE_READ(inode, i_sb, s_dev);
	key.rule = rule->id;
	return (bpf_map_lookup_elem(&programs, &key) != 0) == (rule->programs == ONLY);
}

/* Return the rule's answer; REPORT where no rule is about the file. */
static __always_inline int judge(__u64 began_ns, __u64 group, struct file *file, __u8 acts)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);

	for (int level = 0; level < DEPTH && dentry; level++) {
		struct inode *inode = BPF_CORE_READ(dentry, d_inode);
		struct dentry *above = BPF_CORE_READ(dentry, d_parent);
		struct place key = {
			.inode = BPF_CORE_READ(inode, i_ino),
			.device = BPF_CORE_READ(inode, i_sb, s_dev),
		};
		/* Most places have no rule of anybody. */
		key.group = ANY_GROUP;
		if (!bpf_map_lookup_elem(&places, &key))
			goto up;
		/* The rules of this group first, then those of all. */
		for (__u32 place = 0; place < 2 * SLOTS; place++) {
			struct rule *rule;
			struct event *event;

			key.group = place & SLOTS ? 0 : group;
			key.slot = place & (SLOTS - 1);
			rule = bpf_map_lookup_elem(&places, &key);
			if (!rule) {
				if (place & SLOTS)
					break;
				place = SLOTS - 1;
				continue;
			}
			if (!(rule->acts & acts) || (level > 0 && !rule->below) || !concerns(rule, task))
				continue;
			event = begin(began_ns, group, rule->id, rule->acts & acts, rule->answer);
			if (rule->answer == KILL || (rule->answer == DENY && !CAN_DENY))
				bpf_send_signal(SIGKILL);
			if (event) {
				event->inode = key.inode;
				event->device = key.device;
				event->told_ns = bpf_ktime_get_ns();
				bpf_ringbuf_submit(event, 0);
			}
			return rule->answer;
		}
up:
		if (above == dentry)
			return REPORT;
		dentry = above;
	}
	return REPORT;
}

#ifdef WITH_LSM
SEC("lsm/file_open")
int BPF_PROG(before_open, struct file *file)
{
	__u64 began_ns = bpf_ktime_get_ns();
	__u64 group = bpf_get_current_cgroup_id();
	__u8 acts = ACT_OPEN;

	if (!bpf_map_lookup_elem(&guarded, &group))
		return 0;
	if (BPF_CORE_READ(file, f_mode) & FMODE_WRITE)
		acts |= ACT_WRITE;
	return judge(began_ns, group, file, acts) == REPORT ? 0 : -EPERM;
}

SEC("lsm/bprm_check_security")
int BPF_PROG(before_exec, struct linux_binprm *binary)
{
	__u64 began_ns = bpf_ktime_get_ns();
	__u64 group = bpf_get_current_cgroup_id();

	if (!bpf_map_lookup_elem(&guarded, &group))
		return 0;
	return judge(began_ns, group, BPF_CORE_READ(binary, file), ACT_EXECUTE) == REPORT ? 0 : -EPERM;
}
#else
SEC("raw_tracepoint/sys_exit")
int after_open(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
	long result = ctx->args[1];
	unsigned long number = NUMBER(regs);
	__u64 began_ns, group;
	struct task_struct *task;
	struct fdtable *table;
	struct file **slots, *file = 0;
	__u8 acts = ACT_OPEN;

	if (!OPENS(number) || result < 0)
		return 0;
	began_ns = bpf_ktime_get_ns();
	group = bpf_get_current_cgroup_id();
	if (!bpf_map_lookup_elem(&guarded, &group))
		return 0;
	task = (struct task_struct *)bpf_get_current_task();
	table = BPF_CORE_READ(task, files, fdt);
	if (result >= BPF_CORE_READ(table, max_fds))
		return 0;
	slots = BPF_CORE_READ(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), slots + result) || !file)
		return 0;
	if (BPF_CORE_READ(file, f_mode) & FMODE_WRITE)
		acts |= ACT_WRITE;
	judge(began_ns, group, file, acts);
	return 0;
}

SEC("raw_tracepoint/sched_process_exec")
int after_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct linux_binprm *binary = (struct linux_binprm *)ctx->args[2];
	__u64 began_ns = bpf_ktime_get_ns();
	__u64 group = bpf_get_current_cgroup_id();

	if (bpf_map_lookup_elem(&guarded, &group))
		judge(began_ns, group, BPF_CORE_READ(binary, file), ACT_EXECUTE | ACT_OPEN);
	return 0;
}

#endif

/* Tell whether a connection may be made: 1 or 0, as cgroup hooks answer. */
static __always_inline int reach(__u8 family, const __u8 *address, __u16 port, __u8 protocol)
{
	__u64 began_ns = bpf_ktime_get_ns();
	__u64 group = bpf_get_current_cgroup_id();
	__u8 bit = protocol == 6 ? 1 : 2;

	if (!bpf_map_lookup_elem(&guarded, &group))
		return 1;
	for (__u32 place = 0; place < 2 * SLOTS; place++) {
		struct network key = {
			.bits = 224, .slot = place & (SLOTS - 1), .group = place & SLOTS ? 0 : group,
		};
		struct network_rule *rule;
		struct event *event;
		bool named;

		__builtin_memcpy(key.address, address, 16);
		rule = bpf_map_lookup_elem(&networks, &key);
		if (!rule || !(rule->protocols & bit))
			continue;
		named = rule->count == 0;
		for (int at = 0; at < 8; at++)
			named |= at < rule->count && rule->ports[at] == port;
		if (!named)
			continue;
		event = begin(began_ns, group, rule->id, ACT_CONNECT, rule->answer);
		if (rule->answer == KILL)
			bpf_send_signal(SIGKILL);
		if (event) {
			event->family = family;
			event->protocol = protocol;
			event->port = port;
			__builtin_memcpy(event->address, address, 16);
			event->told_ns = bpf_ktime_get_ns();
			bpf_ringbuf_submit(event, 0);
		}
		return rule->answer == REPORT;
	}
	return 1;
}

static __always_inline int reach4(struct bpf_sock_addr *ctx)
{
	__u8 address[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	__u32 host = ctx->user_ip4;

	__builtin_memcpy(address + 12, &host, 4);
	return reach(AF_INET, address, bpf_ntohs(ctx->user_port), ctx->protocol);
}

static __always_inline int reach6(struct bpf_sock_addr *ctx)
{
	__u32 words[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
	__u8 address[16];

	__builtin_memcpy(address, words, 16);
	return reach(AF_INET6, address, bpf_ntohs(ctx->user_port), ctx->protocol);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return reach4(ctx);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return reach6(ctx);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return reach4(ctx);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return reach6(ctx);
}

/* No process of a sandbox has a use for packets that it writes itself. */
SEC("cgroup/sock_create")
int socket_made(struct bpf_sock *ctx)
{
	__u64 group = bpf_get_current_cgroup_id();
	__u32 *flags = bpf_map_lookup_elem(&guarded, &group);
	struct event *event;

	if (!flags || ctx->type != SOCK_RAW)
		return 1;
	event = begin(bpf_ktime_get_ns(), group, 0, ACT_RAW, DENY);
	if (event) {
		event->family = ctx->family;
		event->protocol = ctx->protocol;
		event->told_ns = bpf_ktime_get_ns();
		bpf_ringbuf_submit(event, 0);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
