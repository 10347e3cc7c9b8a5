// @ts-check
/** What the demo's page knows of a company, without a browser. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Company, gapText } from "../../host/server/assets/page/company.js";

/**
 * @param {string} type
 * @param {any} data
 */
function event(type, data) {
  return { type, id: "m-1-1", data, text: JSON.stringify(data) };
}

test("the rate is that of the last whole seconds, and falls to nothing", () => {
  const company = new Company("company-a");
  for (let ms = 0; ms < 20_000; ms += 100) company.take(event("metric_updated", { value: 1 }), ms);
  assert.equal(company.rate(20_000), 10);
  assert.ok(company.rate(24_000) < 10);
  assert.equal(company.rate(60_000), 0);
  assert.equal(company.rate(5_000), 0, "a clock that was set back counts nothing twice");
});

test("values, flags and events are shown whatever their fields", () => {
  const company = new Company("company-a");
  company.take(event("metric_updated", { companyId: "company-a", metricName: "score", value: 0.5 }), 0);
  company.take(event("sroi_updated", { companyId: "company-a", ratio: 3.25, period: "Q3" }), 0);
  company.take(event("journey_flag_updated", { flag: "onboarded", active: true, userId: "u-1" }), 0);
  company.take({ type: "vis_updated", id: "", data: undefined, text: "no JSON" }, 0);
  company.take(event("vis_updated", null), 0);
  assert.equal(company.metrics.get("score")?.value, 0.5);
  assert.equal(company.metrics.get("sroi")?.value, 3.25);
  assert.deepEqual(company.flags.get("onboarded"), { active: true });
  assert.deepEqual(
    company.feed.map(({ text }) => text),
    ["null", "no JSON", "onboarded on, userId u-1", "ratio 3.25, period Q3", "score 0.5"],
  );
});

test("nothing grows without bound", () => {
  const company = new Company("company-a");
  for (let n = 0; n < 1_000; n += 1) {
    company.take(event("metric_updated", { metricName: `m${n}`, value: n }), n);
    company.take(event("metric_updated", { metricName: "same", value: n }), n);
    company.take(event("journey_flag_updated", { flag: `f${n}`, active: true }), n);
  }
  assert.ok(company.metrics.size <= 24 && company.flags.size <= 40 && company.feed.length <= 12);
  for (const { trend } of company.metrics.values()) assert.ok(trend.length <= 60);
});

test("what was written is read again, and anything else is a new company", () => {
  const company = new Company("company-a");
  company.take(event("metric_updated", { metricName: "score", value: 0.5 }), 0);
  company.takeGap({ from: null, to: "at-9-1", missed: 3, reason: "trimmed" });
  const again = Company.read("company-a", company.write());
  assert.equal(again.write(), company.write());
  for (const text of [null, "", "{", "[]", "null", '{"total":1,"feed":[],"metrics":7}', '{"total":"x"}']) {
    assert.equal(Company.read("company-a", text).total, 0);
  }
});

test("a gap is told with its count where that is known", () => {
  const gap = { from: null, to: null, missed: 1, reason: "overflow" };
  assert.match(gapText(gap), /^1 event missed: .*overflow/);
  assert.match(gapText({ ...gap, missed: 20 }), /^20 events missed/);
  assert.match(gapText({ ...gap, missed: null, reason: "new-reason" }), /^An unknown number of events missed: new-reason$/);
});
