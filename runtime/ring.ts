/**
 * The ring of a doorbell: what wakes a parked owner. It brings along the mail that was delivered, so that the owner need not
 * go and look, and says after which position of which epoch this mail comes. An owner that stands elsewhere by now makes
 * nothing of it; one that hears nothing looks by itself. So a ring may be lost, late or doubled.
 *
 * As text (Redis's scripts write it, `redis/mailbox.lua`): the epoch, both cursors and the number of entries of the control
 * lane in the first line, then an id and a body for each entry, a line each. Mail that is too much, or has a line break in
 * it, is left where it is: the first line stands alone.
 */
import type { Cursor, Entry } from './transport.ts'

export interface Ring {
  readonly epoch: string
  /** Where the owner stood when it parked; there was nothing after it. */
  readonly after: Cursor
  /** What came since; none when the ring could not bring it. */
  readonly mail: readonly Entry[]
}

export const RING_ENTRIES_MAX = 64
export const RING_CHARS_MAX = 32_768

export function encodeRing({ epoch, after, mail }: Ring): string {
  const chars = mail.reduce((sum, { body }) => sum + body.length, 0)
  const fits =
    mail.length <= RING_ENTRIES_MAX && chars <= RING_CHARS_MAX && !mail.some(({ body }) => body.includes('\n'))
  const brought = fits ? mail : []
  const control = brought.filter(({ lane }) => lane === 'hi').length
  const lines = brought.flatMap(({ id, body }) => [id, body])
  return [`${epoch} ${after.hi} ${after.in} ${control}`, ...lines].join('\n')
}

/** Null for what is no ring. */
export function decodeRing(text: string): Ring | null {
  const [head = '', ...lines] = text.split('\n')
  const [epoch, hi, normal, control] = head.split(' ')
  if (epoch === undefined || hi === undefined || normal === undefined || control === undefined) return null
  const mail: Entry[] = []
  for (let i = 0; i + 1 < lines.length; i += 2) {
    mail.push({ id: lines[i] ?? '', lane: i / 2 < Number(control) ? 'hi' : 'in', body: lines[i + 1] ?? '' })
  }
  return { epoch, after: { hi, in: normal }, mail }
}
