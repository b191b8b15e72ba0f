/*
 * Start-up and the system-call stub, for both builds: a static program makes system calls by SYSCALL, the
 * application inside the kernel by calling the kernel's entry (whose name gets the prefix ukl_ with all others).
 */
	.text
	.globl	_start
_start:
	xorl	%ebp, %ebp
	movq	%rsp, %rdi
	andq	$-16, %rsp
	call	start

/* long system_call(long number, long a, long b, long c, long d, long e, long f) */
	.globl	system_call
system_call:
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
#ifdef UKL
	call	entry_SYSCALL_64
#else
	syscall
#endif
	ret

/* A signal handler returns to here; the stack pointer must be just as the handler's ret left it. */
	.globl	signal_return
signal_return:
	movl	$15, %eax
#ifdef UKL
	call	entry_SYSCALL_64
#else
	syscall
#endif

	.section .note.GNU-stack, "", @progbits
