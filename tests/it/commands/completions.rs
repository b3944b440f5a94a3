//! `completions`: a script for each shell, wherever the command is run.

use streamhub_tests::command::Streamhub;

#[test]
fn every_shell_gets_a_script_and_no_data_directory_is_needed() {
    let nowhere = ["DATA_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"];
    let streamhub = nowhere.iter().fold(Streamhub::bare(), |command, name| command.env(name, ""));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = streamhub.run(["completions", shell]).expect(0);
        for word in ["streamhub", "reset-password", "migrate", "undelete", "tenant", "revoke"] {
            assert!(script.stdout().contains(word), "{word} is not in the script for {shell}");
        }
        assert!(script.stderr().is_empty());
    }
}
