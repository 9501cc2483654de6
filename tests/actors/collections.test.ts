import { expect, test } from 'vitest'
import * as collections from '../../actors/collections.ts'
import { defineCollection } from '../../stores/mod.ts'

test.each(Object.entries(collections).filter(([name]) => name.endsWith('Definition')))(
  '%s is a collection in every store',
  (_, definition) => {
    expect(() => defineCollection(definition as collections.FleetCollections['jobs']['definition'])).not.toThrow()
  },
)
