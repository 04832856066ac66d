/** `/?sample=1`: a made-up profile to try the view with, before anything was received. */
import { useMemo } from "preact/hooks";
import { Explorer } from "../explore/Explorer";
import { flameFromJson } from "../profile/decode";
import { Shell } from "../ui/Shell";
import { sampleProfile } from "./sample";

export function SamplePage() {
  const profile = useMemo(() => flameFromJson(sampleProfile(Date.now())), []);
  return (
    <Shell title="Sample profile">
      <section class="page" aria-label="Sample profile" data-testid="sample">
        <div class="page-head">
          <h1>Sample profile</h1>
          <p class="quiet">
            An invented shop, to try the view with: nothing of it is stored. <a href="/">Back to the first profile</a>
          </p>
        </div>
        <Explorer profile={profile} loading={false} />
      </section>
    </Shell>
  );
}
