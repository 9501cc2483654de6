import { expect, test } from 'vitest'
import { changesOf } from '../../cli/changes.ts'

test('changes are put together to one patch, and values are what they look like', () => {
  expect(changesOf(['train.epochs=5', 'train.optimizer.kind=sgd', 'name=a=b', 'limits=null', 'after=[X]'])).toEqual({
    train: { epochs: 5, optimizer: { kind: 'sgd' } },
    name: 'a=b',
    limits: null,
    after: ['X'],
  })
})

test.each(['epochs', '=5', 'train.=5', '.epochs=5'])('"%s" is no change', (text) => {
  expect(() => changesOf([text])).toThrow(`Cannot read "${text}"`)
})
