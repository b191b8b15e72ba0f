import { type Profile, stacks } from './profile.ts';

/** One line a chain of callers, outermost first, and how many instructions it stands for: "init;do_syscall_64;vfs_read 300000". */
export function collapsedStacks(profile: Profile): string {
  let text = '';
  for (const { frames, samples } of stacks(profile)) {
    const names = frames.map(({ name }) => name.replace(/[;\s]/g, '_'));
    text += `${names.join(';')} ${samples * profile.interval}\n`;
  }
  return text;
}
