/** Whether a process runs. One that has ended and that nobody has waited for (a zombie) does not. */
import { readFileSync } from 'node:fs'

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  try {
    // `pid (name) state …`; the name may hold anything, a parenthesis too.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !/^\) [ZX]/.test(stat.slice(stat.lastIndexOf(')')))
  } catch {
    return process.platform !== 'linux' // gone in between; without /proc the signal's word must do
  }
}
