/**
 * Where a shard's claims stood. Each claim is a new incarnation, and begins at the shard's outSeq; a failover that loses
 * commits makes one begin lower than an earlier one had come. So whoever took send `seq` of incarnation `i` can tell
 * whether the shard still knows that it sent it: it does not, if a later claim began below `seq`.
 *
 * It travels as text, `incarnation:outSeq …`, oldest first. A claim that began no lower than a later one says nothing
 * that the later one does not, and is left out; so both numbers rise. When there are too many, the two oldest become one
 * that says too much rather than too little: who asks then takes more for lost than was. `redis/claim.lua` and
 * `redis/deliver.lua` do the same.
 */
import { LIMITS } from './limits.ts'

/** After a claim. */
export function extended(lineage: string, incarnation: number, outSeq: number): string {
  const claims = parse(lineage).filter((claim) => claim.outSeq < outSeq)
  claims.push({ incarnation, outSeq })
  const [first, second] = claims
  if (claims.length > LIMITS.lineageMax && first !== undefined && second !== undefined) {
    claims.splice(0, 2, { incarnation: second.incarnation, outSeq: first.outSeq })
  }
  return claims.map((claim) => `${claim.incarnation}:${claim.outSeq}`).join(' ')
}

/** Whether the shard no longer knows that it sent this. */
export function isForgotten(lineage: string, sent: { readonly incarnation: number; readonly seq: number }): boolean {
  const later = parse(lineage).find(({ incarnation }) => incarnation > sent.incarnation)
  return later !== undefined && later.outSeq < sent.seq
}

function parse(lineage: string): { incarnation: number; outSeq: number }[] {
  return Array.from(lineage.matchAll(/(\d+):(\d+)/g), ([, incarnation, outSeq]) => ({
    incarnation: Number(incarnation),
    outSeq: Number(outSeq),
  }))
}
