/** A bar that shows how far something is, for terminals. */
import { styleText } from 'node:util'

const WIDTH = 28

/** `part` is what is done of the whole, from 0 to 1. */
export function barOf(part: number): string {
  const full = Math.round(part * WIDTH)
  return styleText('cyan', '━'.repeat(full)) + styleText('dim', '━'.repeat(WIDTH - full))
}
