/*
 * One walk through the modes of the processor and back, as a Multiboot kernel linked below 64 KiB. Each stop prints its name on COM1;
 * exceptions met on purpose are logged, and printed at the end as "mode: vector error (CR2)".
 */
.intel_syntax noprefix
.set DATA, 0x10
.set USER_CODE32, 0x18 | 3
.set USER_DATA, 0x20 | 3
.set USER_CODE64, 0x28 | 3
.set CODE64, 0x38
.set COMPAT_USER_CODE, 0x48 | 3
.set CODE16, 0x68
.set DATA16, 0x70
.set CALL_GATE, 0x78
.set TSS32, 0x80
.set TSS64, 0x88
.set CALL_GATE64, 0x98
.set COM1, 0x3f8
.set SYSENTER_CS, 0x174

/* works in every mode: only DX and AL change */
.macro SAY words:vararg
  .irp word, \words
    .irpc c, \word
      mov dx, COM1
      .byte 0xb0 /* mov al, imm8 */
      .ascii "\c"
      out dx, al
    .endr
    mov al, ' '
    .ifc \word,.
      mov al, 10
    .endif
    out dx, al
  .endr
.endm
/* The instruction after it may fault and is then left for label 9. */
.macro TRY32
  mov dword ptr [resume], offset 9f
.endm
.macro TRY64
  mov qword ptr [resume], offset 9f
.endm
.macro STAGE letter
  mov byte ptr [stage], \letter
.endm

.section .boot, "ax"
.code32
.balign 4
  .long 0x1badb002, 3, -(0x1badb002 + 3)
.globl _start
_start:
  mov esp, offset stack_top
  SAY protected32 .
  lgdt [gdt_register]
  jmp 0x08:1f
1: mov eax, DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  /* 32-bit handlers: vector stubs of 16 bytes */
  mov edi, offset idt32
  mov eax, offset stubs32
  mov ecx, 32
2: mov word ptr [edi], ax
  mov word ptr [edi + 2], 8
  mov word ptr [edi + 4], 0x8e00
  mov dword ptr [edi + 4 + 2], 0
  add eax, 16
  add edi, 8
  loop 2b
  /* INT 30h from ring 3: back to ring 0 for good */
  mov word ptr [edi + 16 * 8], offset from_user
  mov word ptr [edi + 16 * 8 + 2], 8
  mov word ptr [edi + 16 * 8 + 4], 0xee00
  lidt [idt32_register]
  mov ax, TSS32
  ltr ax

  /* 16-bit protected mode, and real mode with the firmware's vectors */
  jmp CODE16:3f
.code16
3: SAY protected16 .
  mov ax, DATA16
  mov ds, ax
  mov es, ax
  mov ss, ax
  lidt [real_idt_register]
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp 0:4f
4: xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, offset real_stack_top
  SAY real .
  int 0x12
  cmp ax, 639
  jne fail16
  mov eax, 0xe820
  clc
  int 0x15
  jnc fail16
  cmp ah, 0x86
  jne fail16
  /* "unreal": limits survive the return to real mode */
  lgdt [gdt_register]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  mov bx, DATA
  mov fs, bx
  and al, 0xfe
  mov cr0, eax
  xor bx, bx
  mov fs, bx
  mov ebx, 0x180000
  mov dword ptr fs:[ebx], 0x12345678
  cmp dword ptr fs:[ebx], 0x12345678
  jne fail16
  SAY unreal .
  /* and back to 32-bit protected mode */
  lidt [idt32_register]
  or al, 1
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp 0x08:5f
fail16:
  SAY failed .
  cli
  hlt
.code32
5: mov eax, DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov fs, eax
  mov esp, offset stack_top

  /* faults in 32-bit protected mode */
  STAGE 'p'
  TRY32
  ud2
9: TRY32
  int3
9: TRY32
  mov eax, 0xf000
  mov gs, eax
9: TRY32
  mov eax, CODE16
  mov ss, eax
9: TRY32
  xor edx, edx
  xor ecx, ecx
  div ecx
9: TRY32
  int 0x21
9: TRY32
  bound ecx, [bounds]
9:
#ifndef QEMU /* QEMU 7.2 lets it pass */
  mov eax, 0x80000000 /* PG without PE */
  TRY32
  mov cr0, eax
9:
#endif
  /* ring 3, by IRET; its ports by the bitmap; call gate; SYSENTER and SYSEXIT */
  mov eax, esp
  mov [kernel_esp], eax
  mov ecx, SYSENTER_CS
  mov eax, 8
  xor edx, edx
  wrmsr
  inc ecx
  mov eax, offset sysenter_stack_top
  wrmsr
  inc ecx
  mov eax, offset sysenter_target32
  wrmsr
  push USER_DATA
  push offset user_stack_top
  push 2
  push USER_CODE32
  push offset user32
  iretd
user32: /* DS was of ring 0: IRET has cleared it */
  mov eax, USER_DATA
  mov ds, eax
  STAGE 'u'
  SAY user32 .
  TRY32
  in al, 0x60
9: TRY32
  cli
9: TRY32
  hlt
9: TRY32
  mov eax, cr0
9: TRY32
  int 0x0d
9: TRY32
  mov eax, DATA
  mov ss, eax
9: push 7
  push 8
  .byte 0x9a
  .long 0
  .word CALL_GATE
  cmp eax, 15
  jne fail32
  SAY gate32 .
  mov ecx, esp
  mov edx, offset 1f
  sysenter
1: SAY sysexit32 .
  int 0x30
gate_target32: /* two parameters above the return address */
  mov eax, [esp + 8]
  add eax, [esp + 12]
  retf 8
sysenter_target32:
  sysexit
fail32:
  SAY failed .
  cli
  hlt
from_user:
  mov esp, [kernel_esp]
  mov eax, DATA
  mov ds, eax

  /* PAE paging, 2 MiB pages; 0x600000 is not present */
  STAGE 'a'
  mov edi, offset page_tables
  lea eax, [edi + 0x1001]
  mov [edi], eax
  mov ecx, 4
  xor ebx, ebx
1: lea eax, [ebx * 8 + 0x2001]
  shl eax, 0
  add eax, offset page_tables
  mov [edi + 0x1000 + ebx], eax
  mov dword ptr [edi + 0x1004 + ebx], 0
  add ebx, 8
  loop 1b
  /* only the first directory is filled: 1 GiB */
  lea eax, [edi + 0x2001]
  mov [edi + 0x1000], eax
  xor ecx, ecx
2: mov eax, ecx
  shl eax, 21
  or eax, 0x87
  cmp ecx, 3
  jne 3f
  xor eax, eax
3: mov [edi + 0x2000 + ecx * 8], eax
  mov dword ptr [edi + 0x2004 + ecx * 8], 0
  inc ecx
  cmp ecx, 512
  jne 2b
  mov dword ptr [edi + 0x1008], 0
  mov dword ptr [edi + 0x1010], 0
  mov dword ptr [edi + 0x1018], 0
  mov eax, cr4
  or eax, 0x20
  mov cr4, eax
  lea eax, [edi + 0x1000]
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp 4f
4: SAY pae .
  TRY32
  mov eax, [0x600123]
9: TRY32
  mov dword ptr [0x600456], 0
9: TRY32
  mov eax, offset 5f
  jmp dword ptr [bad_code]
5:
9:
  /* long mode: paging off, LME on, the same tables with a PML4 above them */
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  mov dword ptr [page_tables + 0x1000], offset page_tables + 0x2007
  mov dword ptr [page_tables], offset page_tables + 0x1007
  mov eax, offset page_tables
  mov cr3, eax
  mov ecx, 0xc0000080
  rdmsr
  or eax, 0x900
  wrmsr
  STAGE 'l'
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  SAY compatible .
  jmp CODE64:1f
.code64
1: SAY long .
  mov edi, offset idt64
  mov eax, offset stubs64
  mov ecx, 32
2: mov word ptr [rdi], ax
  mov word ptr [rdi + 2], CODE64
  mov dword ptr [rdi + 4], 0x8e00
  mov qword ptr [rdi + 8], 0
  add eax, 16
  add edi, 16
  loop 2b
  mov word ptr [rdi + 16 * 16], offset from_user64
  mov word ptr [rdi + 16 * 16 + 2], CODE64
  mov dword ptr [rdi + 16 * 16 + 4], 0xee00
  lidt [idt64_register]
  mov ax, TSS64
  ltr ax
  mov rsp, offset stack_top
  TRY64
  ud2
9: TRY64
  mov rax, [0x600123]
9: TRY64
  mov byte ptr [0x600456], 1
9: TRY64
  mov rax, 0x800000000000
  mov rax, [rax]
9: TRY64
  mov rbp, 0x800000000000
  mov rax, [rbp]
9: TRY64
  mov rax, 0x800000000000
  mov ecx, 0xc0000101
  mov rdx, rax
  shr rdx, 32
  wrmsr
9: TRY64
  mov eax, 0x600010
  jmp rax
9:
#ifndef QEMU /* QEMU 7.2 stops there */
  TRY64
  mov rax, cr4
  bts rax, 31
  mov cr4, rax
9:
#endif
  TRY64
  .byte 0x9a, 0, 0, 0, 0, 0, 0 /* CALL ptr16:32 is none here */
9: TRY64
  .byte 0x06 /* nor PUSH ES */
9:
  /* compatibility mode in ring 3 */
  STAGE 'c'
  mov ecx, SYSENTER_CS
  mov eax, CODE64
  xor edx, edx
  wrmsr
  inc ecx
  mov eax, offset sysenter_stack_top
  wrmsr
  inc ecx
  mov eax, offset sysenter_target64
  wrmsr
  mov [kernel_esp], rsp
  push USER_DATA
  push offset user_stack_top
  push 2
  push COMPAT_USER_CODE
  push offset user_compatible
  iretq
.code32
user_compatible:
  mov eax, USER_DATA
  mov ds, eax
  SAY user_compatible .
  TRY32
  ud2
9: TRY32
  .byte 0x0f, 0x05 /* SYSCALL: not outside 64-bit mode */
9: TRY32
  in al, 0x60
9: TRY32
  mov eax, [0x600789]
9: push 0 /* 64-bit gates take no parameters */
  .byte 0x9a
  .long 0
  .word CALL_GATE64
  cmp eax, 0x64
  jne fail32
  SAY gate64 .
  mov ecx, esp
  mov edx, offset 1f
  sysenter
1: SAY sysexit64 .
  int 0x30
.code64
gate_target64:
  mov eax, 0x64
  rex.w retf
sysenter_target64:
  .byte 0x0f, 0x35 /* SYSEXIT to 32-bit code */
from_user64:
  mov rsp, [kernel_esp]
  /* and down again: compatibility mode, paging off, LME off, real mode */
  mov eax, DATA
  mov ds, eax
  push 8
  push offset 1f
  rex.w retf
.code32
1: mov ss, eax
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  mov ecx, 0xc0000080
  rdmsr
  test eax, 0x400 /* LMA has gone */
  jnz fail32
  and eax, ~0x900
  wrmsr
  SAY protected_again .
  jmp CODE16:2f
.code16
2: mov ax, DATA16
  mov ds, ax
  mov ss, ax
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp 0:3f
3: xor ax, ax
  mov ds, ax
  mov ss, ax
  SAY real_again .
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp 0x08:4f
.code32
4: mov eax, DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov esp, offset stack_top
  /* the log */
  mov esi, offset log
1: cmp esi, [log_end]
  jae 3f
  mov eax, [esi]
  mov dx, COM1
  out dx, al
  mov al, ':'
  out dx, al
  mov al, ' '
  out dx, al
  mov edi, 4
2: mov eax, [esi + edi]
  call hexadecimal
  mov al, ' '
  cmp edi, 12
  jne 4f
  mov al, 10
4: mov dx, COM1
  out dx, al
  add edi, 4
  cmp edi, 16
  jne 2b
  add esi, 16
  jmp 1b
3: mov al, 0x2a
  out 0xf4, al
  cli
  hlt

hexadecimal: /* EAX */
  mov ebx, eax
  mov ecx, 28
  mov dx, COM1
1: mov eax, ebx
  shr eax, cl
  jnz 2f
  sub ecx, 4
  jg 1b
  xor ecx, ecx
2: mov eax, ebx
  shr eax, cl
  and eax, 15
  mov al, [digits + eax]
  out dx, al
  sub ecx, 4
  jns 2b
  ret

/* ---- handlers: log { mode, vector, error, CR2 } and go on at [resume] */
.balign 16
stubs32:
.set vector, 0
.rept 32
  .balign 16
  .if vector != 8 && (vector < 10 || vector > 14) && vector != 17
    push 0
  .endif
  .byte 0x6a, vector /* push imm8 */
  jmp common32
  .set vector, vector + 1
.endr
common32:
  pushad
  push ds
  mov eax, DATA
  mov ds, eax
  mov edi, [log_end]
  movzx eax, byte ptr [stage]
  mov [edi], eax
  mov eax, [esp + 36]
  mov [edi + 4], eax
  mov eax, [esp + 40]
  mov [edi + 8], eax
  mov dword ptr [edi + 12], 0
  cmp dword ptr [esp + 36], 14
  jne 1f
  mov eax, cr2
  mov [edi + 12], eax
1: add edi, 16
  mov [log_end], edi
  mov eax, [resume]
  mov [esp + 44], eax
  pop ds
  popad
  add esp, 8
  iretd
.code64
.balign 16
stubs64:
.set vector, 0
.rept 32
  .balign 16
  .if vector != 8 && (vector < 10 || vector > 14) && vector != 17
    push 0
  .endif
  .byte 0x6a, vector /* push imm8 */
  jmp common64
  .set vector, vector + 1
.endr
common64:
  push rax
  push rdi
  mov edi, [log_end]
  movzx eax, byte ptr [stage]
  mov [rdi], eax
  mov eax, [rsp + 16]
  mov [rdi + 4], eax
  mov eax, [rsp + 24]
  mov [rdi + 8], eax
  mov dword ptr [rdi + 12], 0
  cmp dword ptr [rsp + 16], 14
  jne 1f
  mov rax, cr2
  mov [rdi + 12], eax
1: add edi, 16
  mov [log_end], edi
  mov eax, [resume]
  mov [rsp + 32], rax
  pop rdi
  pop rax
  add rsp, 16
  iretq

.data
digits: .ascii "0123456789abcdef"
.balign 8
bounds: .long 1, 2
bad_code: .long 0x600010
resume: .quad 0
kernel_esp: .quad 0
log_end: .long log
stage: .byte 0
.balign 8
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff /* 08 code, ring 0 */
  .quad 0x00cf93000000ffff /* 10 data */
  .quad 0x00cffb000000ffff /* 18 code, ring 3 */
  .quad 0x00cff3000000ffff /* 20 data, ring 3 */
  .quad 0x00affb000000ffff /* 28 64-bit code, ring 3 */
  .quad 0x00cff3000000ffff
  .quad 0x00af9b000000ffff /* 38 64-bit code, ring 0 */
  .quad 0x00cf93000000ffff
  .quad 0x00cffb000000ffff /* 48 code of compatibility mode, ring 3 */
  .quad 0x00cff3000000ffff
  .quad 0x00affb000000ffff
  .quad 0x00cff3000000ffff
  .quad 0x00009b000000ffff /* 68 16-bit code */
  .quad 0x000093000000ffff /* 70 16-bit data */
  .word gate_target32, 8, 0xec02, 0 /* 78 call gate, two parameters */
  .word 0x68 + 128, tss32 /* 80 TSS with an I/O bitmap for ports up to 3ffh */
  .long 0x00008900
  .word 0x68 + 128, tss64 /* 88 */
  .long 0x00008900
  .quad 0
  .word gate_target64, CODE64, 0xec00, 0 /* 98 call gate of 16 bytes */
  .quad 0
gdt_end:
gdt_register: .word gdt_end - gdt - 1
  .long gdt
idt32_register: .word 49 * 8 - 1
  .long idt32
idt64_register: .word 49 * 16 - 1
  .quad idt64
real_idt_register: .word 0x3ff
  .long 0
.balign 4
tss32:
  .long 0, ring0_stack_top, DATA
  .skip 0x66 - 12
  .word 0x68
  .fill 127, 1, 0xff
  .byte 0x00 /* ports 3f8h to 3ffh */
  .byte 0xff
.balign 4
tss64:
  .long 0
  .quad ring0_stack_top
  .skip 0x66 - 12
  .word 0x68
  .fill 127, 1, 0xff
  .byte 0x00
  .byte 0xff

.bss
.balign 16
idt32: .skip 49 * 8
idt64: .skip 49 * 16
log: .skip 1024
.skip 1024
real_stack_top:
.skip 1024
stack_top:
.skip 1024
ring0_stack_top:
.skip 1024
sysenter_stack_top:
.skip 1024
user_stack_top:
.balign 4096
page_tables: .skip 6 * 4096
end:
